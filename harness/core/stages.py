"""Data passed between pipeline stages."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from harness.core.proof import Proof, StandIn
from harness.core.regions import BINARY_PREFIX, Region


class Architecture(StrEnum):
    """Architectures with releases, as Docker names them."""

    AMD64 = "amd64"
    ARM64 = "arm64"

    @property
    def release_name(self) -> str:
        """The name in the plugin's release assets."""
        return {"amd64": "x86_64", "arm64": "arm64"}[self.value]

    @property
    def elf_machine(self) -> int:
        """`e_machine` of its executables (ELF-64, System V ABI)."""
        return {"amd64": 0x3E, "arm64": 0xB7}[self.value]


class StandInPolicy(StrEnum):
    """When a stand-in may replace the real thing."""

    AUTO = "auto"  # when the real one is unreachable
    NEVER = "never"
    ALWAYS = "always"


@dataclass(frozen=True, kw_only=True)
class Asset:
    """One regional tarball of a release."""

    region: Region
    name: str
    sha256: str
    size_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class Release:
    """A release that has every asset the image needs."""

    version: str  # "v0.1.5"
    architecture: Architecture
    base_url: str  # the assets are under {base_url}/{version}/
    assets: tuple[Asset, ...]
    checksums_sha256: str
    left_out: tuple[Region, ...] = ()  # regions of the table that the image lacks
    stand_in: StandIn | None = None

    @property
    def regions(self) -> tuple[Region, ...]:
        """The regions that the image has."""
        return tuple(asset.region for asset in self.assets)

    @property
    def on_loopback(self) -> bool:
        """Whether the build needs the engine's host network to reach it."""
        host = urlsplit(self.base_url).hostname
        return self.stand_in is not None or host in {"127.0.0.1", "::1", "localhost"}


@dataclass(frozen=True, kw_only=True)
class BaseImage:
    """The image the build starts from."""

    reference: str
    image_id: str
    digest: str  # "" if no registry provided one
    size_bytes: int
    stand_in: StandIn | None = None


@dataclass(frozen=True, kw_only=True)
class BuiltImage:
    """A built image and how it was built."""

    reference: str
    image_id: str
    version: str
    architecture: Architecture
    base: BaseImage
    release: Release
    seconds: float
    layers: tuple[Mapping[str, object], ...]
    size_bytes: int

    @property
    def stand_ins(self) -> tuple[StandIn, ...]:
        """Every part of it that is a stand-in."""
        return tuple(s for s in (self.base.stand_in, self.release.stand_in) if s)


@dataclass(frozen=True, kw_only=True)
class VerifiedImage:
    """A built image whose proof passed; only `harness.pipeline.verified` makes one."""

    built: BuiltImage
    proof: Proof


def asset_name(region: Region, version: str, architecture: Architecture) -> str:
    """File name of a region's tarball in release `version`."""
    number = version.removeprefix("v")
    name = BINARY_PREFIX.removesuffix("-")
    return f"{name}_{number}_Linux_{architecture.release_name}_{region.name}.tar.gz"
