"""The one error tree: every message says what happened, why, and what to do.

Exit codes of the command, documented in docs/reference.md:
0 proven, 1 not proven, 2 bad usage, 3 environment missing, 4 release incomplete or unreachable,
5 build failed, 6 scan gate failed, 7 no scan possible, 8 registry refused or failed,
9 tag conflict, 10 GitHub refused or failed, 70 internal error, 130 interrupted.
"""

from typing import ClassVar


class HarnessError(Exception):
    """Base of every expected failure; its text is all that a user sees."""

    exit_code: ClassVar[int] = 1


class NotProvenError(HarnessError):
    """The image was examined and at least one requirement is not met."""


class UsageError(HarnessError):
    """The request is invalid."""

    exit_code = 2


class EnvironmentMissingError(HarnessError):
    """The machine lacks something that the harness must not or cannot provide."""

    exit_code = 3


class NoProcessorError(EnvironmentMissingError):
    """The engine cannot run images of the architecture, and no emulator is available."""


class ReleaseError(HarnessError):
    """The release lacks assets, or its server is unreachable."""

    exit_code = 4


class BuildError(HarnessError):
    """The engine refused or failed to build the image."""

    exit_code = 5


class ScanGateError(HarnessError):
    """The scan has findings that the gate rejects."""

    exit_code = 6


class ScanImpossibleError(HarnessError):
    """No scan, and so no pass: Trivy or its database is missing, or the database is untrusted."""

    exit_code = 7


class RegistryError(HarnessError):
    """The registry refused, failed, or holds content that differs from what was pushed."""

    exit_code = 8


class TagConflictError(HarnessError):
    """A tag that must not move has other content, or another run is releasing it."""

    exit_code = 9


class CommandError(EnvironmentMissingError):
    """An external tool failed."""


class WaitTimeoutError(HarnessError):
    """A condition was not met in time."""


class ContainerDiedError(HarnessError):
    """A container exited that was expected to run."""
