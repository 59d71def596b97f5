"""FR-014 (environment reaches all binaries unchanged)."""

from collections.abc import Mapping

from harness.core.recorder import Limits
from harness.core.regions import PLUGIN_PORT_OFFSET, Region
from harness.engine.container import RunningContainer
from harness.verify import inside
from harness.verify.target import Target
from harness.verify.watch import Watch

OWN_PORT = "FINFOCUS_PLUGIN_PORT"
"""The only variable that each region gets with its own value."""
ENVIRON = {
    "PROOF_PLAIN": "plain",
    "PROOF_SPACES": "  two  spaces  ",
    "PROOF_NEWLINE": "line one\nline two\n",
    "PROOF_QUOTES": "\"double\" 'single' `back` $HOME \\n",
    "PROOF_UNICODE": "zürich €",
    "PROOF_EMPTY": "",
    OWN_PORT: "7001",
    "PORT": "7002",
}
"""The container's environment. No region may listen on these ports."""
ENGINE_ADDS = ("PATH", "HOSTNAME", "HOME", "TERM", "container")
"""Variables that an engine sets by itself."""


def check_environment(target: Target, container: RunningContainer, watch: Watch) -> None:
    """FR-014, on a container that was started with `ENVIRON`."""
    count = len(target.regions)
    with target.recorder.check(
        "FR-014",
        f"every region gets the environment byte for byte, except its own {OWN_PORT}",
        limits=Limits(floor=count, bound=count),
        scenario=watch.name,
        container=container,
    ) as finding:
        given = dict(e.partition("=")[::2] for e in target.config.get("Env") or []) | ENVIRON
        pids = inside.plugins(container, target.regions)
        unchanged = 0
        for region in target.regions:
            if region.name not in pids:
                finding.fail(f"{region.name} does not run")
                continue
            wrong = differences(given, inside.environment(container, pids[region.name]), region)
            unchanged += not wrong
            finding.expect(not wrong, f"{region.name}: {', '.join(wrong)}")
        finding.value = unchanged


def differences(
    given: Mapping[str, str], actual: Mapping[bytes, bytes], region: Region
) -> list[str]:
    """List what is wrong in the `actual` environment of a region's plugin.

    `given` is the container's environment. Each of its variables must arrive byte for byte,
    except `FINFOCUS_PLUGIN_PORT`, which holds the region's own plugin port. No other variable may
    be added.
    """
    own_port = str(region.port + PLUGIN_PORT_OFFSET)
    wrong = []
    for name, value in (dict(given) | {OWN_PORT: own_port}).items():
        found = actual.get(name.encode())
        if found is None:
            wrong.append(f"{name} is missing")
        elif found != value.encode():
            wrong.append(f"{name} is {found.decode(errors='replace')!r}, not {value!r}")
    added = {name.decode(errors="replace") for name in actual} - {*given, OWN_PORT, *ENGINE_ADDS}
    return [*wrong, *(f"{name} is added" for name in sorted(added))]
