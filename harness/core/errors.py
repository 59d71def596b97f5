"""The one error tree: every message says what happened, why, and what to do.

Exit codes of the command, documented in docs/reference.md:
0 proven, 1 not proven, 2 bad usage, 3 environment missing, 4 release incomplete or unreachable,
5 build failed, 6 the scan's gate does not let it pass, 7 no scan possible,
8 registry refused or failed, 9 tag conflict, 70 a defect of the harness, 130 interrupted.
"""

from typing import ClassVar


class HarnessError(Exception):
    """Base of every expected failure; its text is all that a user sees."""

    exit_code: ClassVar[int] = 1


class NotProvenError(HarnessError):
    """The image was examined and at least one requirement does not hold."""


class UsageError(HarnessError):
    """What the caller asked for cannot be done as asked."""

    exit_code = 2


class EnvironmentMissingError(HarnessError):
    """The machine lacks something that the harness may not or cannot provide."""

    exit_code = 3


class NoProcessorError(EnvironmentMissingError):
    """The engine runs no image of that architecture, and no emulator can be had: not proven."""


class ReleaseError(HarnessError):
    """The release lacks assets, or its server cannot be reached."""

    exit_code = 4


class BuildError(HarnessError):
    """The engine refused or failed to build the image."""

    exit_code = 5


class ScanGateError(HarnessError):
    """The scan found what the gate does not let pass."""

    exit_code = 6


class ScanImpossibleError(HarnessError):
    """There is no scan, and so no pass: no Trivy, no database, or one that cannot be trusted."""

    exit_code = 7


class RegistryError(HarnessError):
    """The registry refused, failed, or has other content than it was given."""

    exit_code = 8


class TagConflictError(HarnessError):
    """A tag that must not move has other content, or another release of it is running."""

    exit_code = 9


class CommandError(EnvironmentMissingError):
    """An external tool failed."""


class WaitTimeoutError(HarnessError):
    """A condition did not come true in time."""


class ContainerDiedError(HarnessError):
    """A container ended that was expected to run."""
