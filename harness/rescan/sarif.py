"""One SARIF file for all images, so that code scanning has one set of alerts.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html: `results` of a run refer to its
rules by index.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.core.errors import ScanImpossibleError
from harness.core.untrusted import reading
from harness.scan.tool import REMEDY


@reading("Trivy's SARIF", ScanImpossibleError, REMEDY)
def merged(paths: Iterable[Path]) -> dict[str, Any]:
    """Merge the SARIF files at `paths`; a result that several have is kept once."""
    whole: dict[str, Any] = {}
    rules: dict[str, dict[str, Any]] = {}
    results: dict[str, dict[str, Any]] = {}
    for path in paths:
        data = json.loads(path.read_text(encoding="utf-8"))
        whole = whole or data
        for run in data["runs"]:
            for rule in run["tool"]["driver"].get("rules") or ():
                rules.setdefault(str(rule["id"]), rule)
            for result in run.get("results") or ():
                plain = {key: value for key, value in result.items() if key != "ruleIndex"}
                results.setdefault(json.dumps(plain, sort_keys=True), plain)
    if not whole:
        return {"version": "2.1.0", "runs": []}
    order = {id_: index for index, id_ in enumerate(rules)}
    driver = {**whole["runs"][0]["tool"]["driver"], "rules": list(rules.values())}
    found = [{**r, "ruleIndex": order[str(r["ruleId"])]} for r in results.values()]
    run = {**whole["runs"][0], "tool": {"driver": driver}, "results": found}
    return {**whole, "runs": [run]}
