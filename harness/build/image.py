"""Build the image with docker-py and record its inputs and outputs."""

import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import docker
import requests
import urllib3
from docker.errors import DockerException

from harness.core.console import Step, detail, step
from harness.core.errors import BuildError, CommandError
from harness.core.locks import exclusive
from harness.core.process import run
from harness.core.regions import REPOSITORY
from harness.core.stages import Architecture, BaseImage, BuiltImage, Release

RECORD_VERSION = 1
DIRTY = "-dirty"
"""Suffix of a revision whose checkout has changes, as `git describe --dirty` writes it."""
REPOSITORY_NAME = "finfocus-plugin-aws-public"
_BUILT = re.compile(r"Successfully built (?P<id>[0-9a-f]+)|(?P<digest>sha256:[0-9a-f]{64})")
_STEP = re.compile(r"Step (\d+)/(\d+)")
_DOWNLOADED = re.compile(r"^downloaded (?P<asset>\S+)$")  # from image/build/download.sh
_NOISE = re.compile(
    r"^( ---> |downloaded |Removing intermediate|Successfully )|requested image's platform"
)


def default_reference(version: str, architecture: Architecture) -> str:
    """Local name of the image of `version` for `architecture`."""
    return f"{REPOSITORY_NAME}:{version}-{architecture}"


def build_image(
    client: docker.DockerClient,
    image_directory: Path,
    base: BaseImage,
    release: Release,
    reference: str = "",
    *,
    no_cache: bool = False,
) -> BuiltImage:
    """Build `image_directory` for `release` on `base`; the result carries the tag `reference`.

    With `no_cache` nothing from earlier builds is reused.
    Raises `BuildError` with the build's output if it fails.
    """
    reference = reference or default_reference(release.version, release.architecture)
    began = time.monotonic()
    # The second of two concurrent runs reuses the first one's layers.
    alone = exclusive(f"build {reference}")
    with step(f"building {reference}") as progress, alone, _engine_errors():
        stream = client.api.build(
            path=str(image_directory),
            tag=reference,
            buildargs=build_arguments(base, release),
            platform=f"linux/{release.architecture}",
            # A stand-in release is served on this machine's loopback.
            network_mode="host" if release.on_loopback else None,
            nocache=no_cache,
            rm=True,
            forcerm=True,
            decode=True,
        )
        sizes = {asset.name: asset.size_bytes or 0 for asset in release.assets}
        image_id = _follow(stream, progress, sizes)
    image = client.images.get(image_id)
    return BuiltImage(
        reference=reference,
        image_id=str(image.id),
        version=release.version,
        architecture=release.architecture,
        base=base,
        release=release,
        seconds=time.monotonic() - began,
        layers=layers_of(image.attrs, image.history()),
        size_bytes=int(image.attrs["Size"]),
    )


def layers_of(
    attributes: Mapping[str, Any], history: list[dict[str, Any]]
) -> tuple[dict[str, Any], ...]:
    """The layers, the lowest first: digest (uncompressed), size in bytes, build instruction."""
    digests = list(attributes.get("RootFS", {}).get("Layers") or [])
    # The engine's history, newest first, includes steps without a layer. Empty layers have size 0
    # too, so digests and sizes are matched only if their counts agree.
    steps = [entry for entry in reversed(history) if entry.get("Size", 0) > 0]
    if len(steps) != len(digests):
        return tuple({"digest": d, "size_bytes": None, "created_by": ""} for d in digests)
    return tuple(
        {"digest": digest, "size_bytes": entry["Size"], "created_by": entry["CreatedBy"]}
        for digest, entry in zip(digests, steps, strict=True)
    )


def _follow(
    stream: Iterator[dict[str, Any]], progress: Step, sizes: Mapping[str, int] | None = None
) -> str:
    """Show a build's output until it ends; return the image ID.

    `sizes` has the bytes of each asset that the build downloads.
    """
    output: list[str] = []
    sizes, downloaded = sizes or {}, 0
    try:
        image_id = ""
        for line in _lines(stream):
            detail(line)
            progress.news(line)
            output.append(line)
            if (match := _DOWNLOADED.match(line)) and (size := sizes.get(match["asset"])):
                downloaded += size
                progress.transferred(downloaded, sum(sizes.values()))
            if match := _BUILT.search(line):
                image_id = match["id"] or match["digest"]
    except _BuildFailedError as error:
        words = [line for line in output[-40:] if not _NOISE.match(line)]
        raise BuildError("\n  ".join([f"the image build failed: {error}", *words])) from None
    if not image_id:
        raise BuildError("the build ended without an image. Run with --verbose for its output.")
    return image_id


@contextmanager
def _engine_errors() -> Iterator[None]:
    """Turn an engine's refusal or a lost connection into `BuildError`."""
    try:
        yield
    except DockerException as error:
        raise BuildError(f"the engine cannot build the image: {error}") from error
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise BuildError(
            "the engine went away during the build. Check its log and build again."
        ) from error


class _BuildFailedError(Exception):
    """The engine reported a failed step."""


def _lines(stream: Iterator[dict[str, Any]]) -> Iterator[str]:
    """Lines of a build's output; the engine's messages may split lines."""
    rest = ""
    for message in stream:
        if "error" in message:
            raise _BuildFailedError(str(message["error"]).strip())
        if identifier := (message.get("aux") or {}).get("ID"):
            yield str(identifier)
        rest += message.get("stream", "")
        *complete, rest = rest.split("\n")
        yield from (line for line in complete if line.strip())


def build_arguments(base: BaseImage, release: Release) -> dict[str, str]:
    """Build arguments: equal for equal inputs, so that an unchanged build is cached."""
    kinds = {s.kind for s in (base.stand_in, release.stand_in) if s}
    arguments = {
        "BASE_IMAGE": base.reference,
        "BASE_DIGEST": base.digest,
        "VERSION": release.version,
        "TARGETARCH": release.architecture.value,
        "RELEASE_BASE_URL": release.base_url,
        # download.sh compares it: files that were replaced meanwhile do not get into the image.
        "CHECKSUMS_SHA256": release.checksums_sha256,
        "REVISION": revision(),
        "CREATED": _git("show", "-s", "--format=%cI", "HEAD"),
        "STAND_INS": ", ".join(sorted(kinds)),
    }
    if release.left_out:
        arguments |= {
            "WITHOUT": " ".join(region.name for region in release.left_out),
            "REGIONS": ",".join(region.name for region in release.regions),
            "PORTS": " ".join(str(region.port) for region in release.regions),
        }
    return arguments


def revision(checkout: Path = REPOSITORY) -> str:
    """Commit of `checkout`, with the suffix `DIRTY` if it was changed since; "" outside one.

    A file that git does not know counts only in `image/`, from where the build could copy it.
    """
    commit = _git("rev-parse", "HEAD", checkout=checkout)
    changed = _git("status", "--porcelain", "--untracked-files=no", checkout=checkout)
    changed += _git("status", "--porcelain", "--", "image", checkout=checkout)
    return f"{commit}{DIRTY}" if commit and changed else commit


def _git(*arguments: str, checkout: Path = REPOSITORY) -> str:
    """Output of a git command in the checkout; "" outside one."""
    with suppress(CommandError):
        return run(["git", "-C", str(checkout), *arguments]).strip()
    return ""


def build_record(image: BuiltImage, image_directory: Path) -> dict[str, Any]:
    """Inputs and outputs of a build as JSON types; see docs/build-record.md."""
    files = sorted(path for path in image_directory.rglob("*") if path.is_file())
    return {
        "schema_version": RECORD_VERSION,
        "reference": image.reference,
        "image_id": image.image_id,
        "version": image.version,
        "architecture": image.architecture.value,
        "size_bytes": image.size_bytes,
        "seconds": round(image.seconds, 3),
        "regions": [region.name for region in image.release.regions],
        "left_out": [region.name for region in image.release.left_out],
        "stand_ins": [vars(stand_in) for stand_in in image.stand_ins],
        "layers": list(image.layers),
        "inputs": {
            "base": {
                "reference": image.base.reference,
                "image_id": image.base.image_id,
                "digest": image.base.digest,
                "size_bytes": image.base.size_bytes,
            },
            "release": f"{image.release.base_url}/{image.release.version}",
            "checksums_sha256": image.release.checksums_sha256,
            "assets": [
                {
                    "region": asset.region.name,
                    "name": asset.name,
                    "sha256": asset.sha256,
                    "size_bytes": asset.size_bytes,
                }
                for asset in image.release.assets
            ],
            "files": {
                str(path.relative_to(image_directory)): hashlib.sha256(
                    path.read_bytes()
                ).hexdigest()
                for path in files
            },
        },
    }


def write_record(image: BuiltImage, image_directory: Path, path: Path) -> None:
    """Write the build record of `image` to `path` as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(build_record(image, image_directory), indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
