"""The command `rescan`."""

from harness.cli.expand import expanded
from harness.cli.options import Json
from harness.cli.output import print_json
from harness.rescan import job


@expanded
def rescan(*, config: job.RescanConfig, as_json: Json = False) -> None:
    """Scan every supported image of the registry again, and keep one issue per finding."""
    found = job.rescan(config)
    if as_json:
        print_json(found.to_json_dict())
