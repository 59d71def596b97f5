"""One SARIF file for all images, so that code scanning has one set of alerts.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html: `results` of a run refer to its
rules by index.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.core.decode import decode, member, objects
from harness.core.errors import ScanImpossibleError
from harness.core.untrusted import reading
from harness.scan.tool import REMEDY


@reading("Trivy's SARIF", ScanImpossibleError, REMEDY)
def merged(paths: Iterable[Path]) -> dict[str, Any]:
    """Merge the SARIF files at `paths`; a result that several have is kept once."""
    whole: Mapping[str, Any] = {}
    rules: dict[str, Mapping[str, Any]] = {}
    results: dict[str, dict[str, Any]] = {}
    for path in paths:
        data = decode(Mapping[str, Any], json.loads(path.read_bytes()), "the document")
        whole = whole or data
        for run in objects(data, "runs"):
            for rule in objects(run, "tool", "driver", "rules"):
                rules.setdefault(member(rule, str, "id"), rule)
            for result in objects(run, "results"):
                plain = {key: value for key, value in result.items() if key != "ruleIndex"}
                results.setdefault(json.dumps(plain, sort_keys=True), plain)
    if not whole:
        return {"version": "2.1.0", "runs": []}
    order = {id_: index for index, id_ in enumerate(rules)}
    first = next(iter(objects(whole, "runs")), {})
    tool = member(first, Mapping[str, Any] | None, "tool", "driver") or {}
    found = [{**r, "ruleIndex": _index(r, order)} for r in results.values()]
    driver = {**tool, "rules": list(rules.values())}
    return {**whole, "runs": [{**first, "tool": {"driver": driver}, "results": found}]}


def _index(result: Mapping[str, Any], order: Mapping[str, int]) -> int:
    name = member(result, str, "ruleId")
    if name not in order:
        raise ValueError(f"no rule {name!r}")
    return order[name]
