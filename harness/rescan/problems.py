"""What the scans found, by vulnerability and package, and what would fix it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from harness.publish.tags import released
from harness.rescan.images import PublishedImage
from harness.scan import LayerClass, ScanReport, Severity
from harness.scan.model import GATED, Finding


class Remedy(StrEnum):
    """What makes a problem go away."""

    REBUILD = "a rebuild fixes it"
    PLUGIN = "only a new release of the plugin fixes it"
    NONE = "there is no fix yet"


@dataclass(frozen=True, kw_only=True)
class Affected:
    """One image that has the problem."""

    image: PublishedImage
    finding: Finding


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One critical or high vulnerability of one package, in one or more images."""

    id: str
    package: str  # "" for a secret
    affected: tuple[Affected, ...] = field(default=())

    @property
    def severity(self) -> Severity:
        """The highest severity of all images."""
        return min((a.finding.severity for a in self.affected), key=list(Severity).index)

    @property
    def title(self) -> str:
        """What the database calls it."""
        return self.affected[0].finding.title

    @property
    def open(self) -> bool:
        """Whether the newest image has it; an older one keeps it for ever."""
        return any(a.image.newest for a in self.affected)

    @property
    def remedy(self) -> Remedy:
        """What fixes it in the newest image."""
        found = [a.finding for a in self.affected if a.image.newest]
        if any(f.layer is LayerClass.PLUGIN for f in found):
            return Remedy.PLUGIN
        return Remedy.REBUILD if found and all(f.fixed for f in found) else Remedy.NONE

    @property
    def fixed(self) -> str:
        """The versions with a fix; "" if there is none."""
        return ", ".join(dict.fromkeys(a.finding.fixed for a in self.affected if a.finding.fixed))


def problems_in(scans: Iterable[tuple[PublishedImage, ScanReport]]) -> list[Problem]:
    """Group the critical and high findings of all images, the most severe first."""
    grouped: dict[tuple[str, str], list[Affected]] = {}
    for image, report in scans:
        for finding in report.findings:
            if finding.severity in GATED:
                key = (finding.id, finding.package)
                grouped.setdefault(key, []).append(Affected(image=image, finding=finding))
    found = [Problem(id=id_, package=p, affected=tuple(a)) for (id_, p), a in grouped.items()]
    return sorted(found, key=lambda p: (list(Severity).index(p.severity), p.id, p.package))


def rebuild_command(images: Sequence[PublishedImage]) -> str:
    """Return the command that publishes the next revision of the newest version."""
    versions = [found for image in images for tag in image.tags if (found := released(tag))]
    if not versions:
        return ""
    newest = max(versions)
    return f"nox -s release -- v{newest.version} --revision {newest.revision + 1}"
