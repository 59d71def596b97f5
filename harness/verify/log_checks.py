"""Checks of a container's complete log."""

from harness.core.recorder import Limits
from harness.engine.container import RunningContainer
from harness.engine.logs import NO_REGION
from harness.verify.target import Target
from harness.verify.watch import Watch


def check_logs(target: Target, container: RunningContainer, watch: Watch) -> None:
    """FR-013 and FR-020, on every line from the first to the last; the container has exited."""
    log, count = container.log, len(target.regions)
    log.finish()
    check_own_lines(target, container, watch)
    with target.recorder.check(
        "FR-013",
        "every log line is valid and has its region",
        limits=Limits(bound=0),
        scenario=watch.name,
    ) as finding:
        finding.value = log.problem_count
        finding.measured = f"{log.problem_count} of {log.lines} lines"
        for line in log.problems:
            finding.fail(f"{line.problem}: {line.text[:200]}")
        finding.expect(log.lines, "the log is empty")
    for requirement, title, lines in (
        ("FR-013", "every region has plain lines with its prefix", log.text_lines),
        ("FR-020", "every region has JSON lines with region, timestamp and level", log.json_lines),
    ):
        with target.recorder.check(
            requirement, title, limits=Limits(floor=count, bound=count), scenario=watch.name
        ) as finding:
            silent = [name for name in target.names if not lines[name]]
            finding.value = count - len(silent)
            finding.measured = f"{count - len(silent)} regions, {lines.total()} lines"
            finding.expect(not silent, f"none of {', '.join(silent)}")
    versions = {
        str(line.fields["plugin_version"])
        for lines in log.kept().values()
        for line in lines
        if line.fields and line.region != NO_REGION and "plugin_version" in line.fields
    }
    with target.recorder.check(
        "FR-002", "the binaries have the image's version", scenario=watch.name
    ) as finding:
        finding.measured = ", ".join(sorted(versions)) or "no plugin_version in the log"
        finding.expect(
            versions == {target.version.removeprefix("v")},
            f"the image is {target.version or 'unlabelled'}, the plugins say {finding.measured}",
        )


def check_own_lines(target: Target, container: RunningContainer, watch: Watch) -> None:
    """FR-020 for the lines of supervisor, proxy and log writer; the container has exited."""
    log = container.log
    log.finish()
    with target.recorder.check(
        "FR-020",
        "every log line of the container itself is JSON",
        limits=Limits(bound=0),
        scenario=watch.name,
    ) as finding:
        text, total = (
            log.text_lines[NO_REGION],
            log.text_lines[NO_REGION] + log.json_lines[NO_REGION],
        )
        finding.value = text
        finding.measured = f"{text} of {total} lines are not JSON"
        for line in [x for x in log.kept().get(NO_REGION, ()) if x.fields is None]:
            finding.fail(f"not JSON: {line.text[:200]}")
        finding.expect(total, "the container logged no line of its own")
