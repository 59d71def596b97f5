"""A base image made from Debian's packages, for machines that reach no image registry."""

import hashlib
from pathlib import Path

import docker
from docker.errors import ImageNotFound
from docker.models.images import Image

from harness.console import step
from harness.labels import STAND_IN
from harness.process import ensure_tools, run
from harness.temporary import temporary_directory

SUITE = "bookworm"
PACKAGES = (
    *("base-files", "libc6", "busybox", "bash", "haproxy", "lua5.3", "lua-posix", "lua-cjson"),
    "ca-certificates",
)
_APK = Path(__file__).with_name("apk.sh")
_EXCLUDED = ("doc", "man", "locale", "info", "lintian")

# What Debian's maintainer scripts would do and an extracted tree lacks; $1 is the tree.
_FINISH = r"""
set -eu
for applet in $("$1/bin/busybox" --list); do
  for directory in bin sbin usr/bin usr/sbin; do
    [ ! -e "$1/$directory/$applet" ] || continue 2
  done
  ln -s /bin/busybox "$1/bin/$applet"
done
ln -sf /bin/busybox "$1/usr/bin/env"
printf 'root:x:0:0:root:/root:/bin/sh\n' >"$1/etc/passwd"
printf 'root:x:0:\n' >"$1/etc/group"
printf 'hosts: files dns\nservices: files\n' >"$1/etc/nsswitch.conf"
cat "$1"/usr/share/ca-certificates/mozilla/*.crt >"$1/etc/ssl/certs/ca-certificates.crt"
"""


def make_base_image(client: docker.DockerClient, reference: str) -> Image:
    """Image `reference` with the same commands and paths as Alpine's, made from Debian's packages.

    Made once per machine: an image of that name with the stand-in label is used again.
    Raises `EnvironmentMissingError` when the packages cannot be had.
    """
    try:
        existing = client.images.get(reference)
        if existing.labels.get(STAND_IN) == fingerprint():
            return existing
    except ImageNotFound:
        pass
    ensure_tools({"mmdebstrap": "mmdebstrap"}, wanted_for="a stand-in base image")
    with (
        step("making a stand-in base image from Debian's packages") as progress,
        temporary_directory("base") as directory,
    ):
        tree = directory / "base.tar"
        run(_mmdebstrap(directory, tree))
        progress.news("importing")
        name, _, tag = reference.rpartition(":")
        client.api.import_image_from_file(
            str(tree), repository=name, tag=tag, changes=[f"LABEL {STAND_IN}={fingerprint()}"]
        )
    return client.images.get(reference)


def fingerprint() -> str:
    """Changes when this recipe does, so that an image of an older recipe is not used."""
    recipe = repr((SUITE, PACKAGES, _EXCLUDED, _FINISH)) + _APK.read_text(encoding="utf-8")
    return hashlib.sha256(recipe.encode()).hexdigest()[:16]


def _mmdebstrap(directory: Path, tree: Path) -> list[str]:
    finish = directory / "finish.sh"
    finish.write_text("#!/bin/sh\n" + _FINISH, encoding="utf-8")
    finish.chmod(0o755)
    apk = directory / "apk"
    apk.write_bytes(_APK.read_bytes())
    apk.chmod(0o755)
    # Only extract hooks run in this variant, and no package is configured: nothing of Debian's
    # runs inside the tree.
    return [
        *("mmdebstrap", "--quiet", "--variant=extract", f"--include={','.join(PACKAGES)}"),
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _EXCLUDED),
        f'--extract-hook="{finish}" "$1"',
        f'--extract-hook=install -D -m 0755 "{apk}" "$1/sbin/apk"',
        *(SUITE, str(tree)),
    ]
