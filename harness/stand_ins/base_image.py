"""A base image made from Debian's packages, for machines without access to an image registry."""

import hashlib
import shlex
import sys
from pathlib import Path

import docker
from docker.errors import ImageNotFound
from docker.models.images import Image

from harness.core.console import step
from harness.core.labels import STAND_IN
from harness.core.process import ensure_tools, run
from harness.core.stages import Architecture
from harness.core.temporary import temporary_directory
from harness.engine.import_image import load_layer
from harness.stand_ins import applets

SUITE = "bookworm"
PACKAGES = (
    *("base-files", "libc6", "busybox", "bash", "haproxy", "lua5.3", "lua-posix", "lua-cjson"),
    "ca-certificates",
)
_APK = Path(__file__).with_name("apk.sh")
_EXCLUDED = ("doc", "man", "locale", "info", "lintian")

# Replaces the parts of Debian's maintainer scripts that the image needs; $1 is the tree, $2 the
# applets of its busybox. Nothing in the tree runs here: it may be of another architecture.
_FINISH = r"""
set -eu
for applet in $2; do
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


def make_base_image(
    client: docker.DockerClient, reference: str, architecture: Architecture
) -> Image:
    """Image `reference` with the same commands and paths as Alpine's, made from Debian's packages.

    Made once per machine: an image of that name with the stand-in label is reused. The machine can
    have another `architecture`.
    Raises `EnvironmentMissingError` if the packages are unavailable.
    """
    try:
        existing = client.images.get(reference)
        if existing.labels.get(STAND_IN) == fingerprint(architecture):
            return existing
    except ImageNotFound:
        pass
    ensure_tools({"mmdebstrap": "mmdebstrap"}, wanted_for="a stand-in base image")
    with (
        step(f"making a stand-in base image ({architecture}) from Debian's packages") as progress,
        temporary_directory("base") as directory,
    ):
        tree = directory / "base.tar"
        run(_mmdebstrap(directory, tree, architecture))
        progress.news("loading")
        config = {"Labels": {STAND_IN: fingerprint(architecture)}}
        return load_layer(client, tree, reference, architecture, config)


def fingerprint(architecture: Architecture) -> str:
    """Hash of the recipe, so that images of older recipes are not reused."""
    recipe = repr((SUITE, PACKAGES, _EXCLUDED, _FINISH, architecture.value))
    recipe += _APK.read_text(encoding="utf-8")
    return hashlib.sha256(recipe.encode()).hexdigest()[:16]


def _mmdebstrap(directory: Path, tree: Path, architecture: Architecture) -> list[str]:
    finish = directory / "finish.sh"
    finish.write_text("#!/bin/sh\n" + _FINISH, encoding="utf-8")
    finish.chmod(0o755)
    apk = directory / "apk"
    apk.write_bytes(_APK.read_bytes())
    apk.chmod(0o755)
    names = shlex.join([sys.executable, str(Path(applets.__file__))])
    # This variant runs extract hooks only and configures no package, so no Debian program runs
    # inside the tree.
    return [
        *("mmdebstrap", "--quiet", "--variant=extract", f"--include={','.join(PACKAGES)}"),
        f"--architectures={architecture.value}",  # Debian and Docker name these two alike
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _EXCLUDED),
        f'--extract-hook="{finish}" "$1" "$({names} "$1/bin/busybox")"',
        f'--extract-hook=install -D -m 0755 "{apk}" "$1/sbin/apk"',
        *(SUITE, str(tree)),
    ]
