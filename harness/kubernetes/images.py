"""Archives of images, as nodes load them."""

import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from docker.errors import DockerException
from docker.utils import version_gte

from harness.core.console import step
from harness.core.errors import EnvironmentMissingError
from harness.core.regions import Region, load_regions
from harness.engine.load_layout import write_archive
from harness.engine.provision import Engine
from harness.engine.pull import find_image
from harness.oci import ImageLayout, export_image
from harness.oci.regional import derive

_PLATFORM_SINCE = "1.48"  # the engine's API version
_CHUNK = 1 << 20


def save_images(engine: Engine, references: Sequence[str], directory: Path) -> Path:
    """Save images as one archive, each for one platform; return its path.

    An engine with containerd's image store writes every platform of an image unless one is named,
    and fails to load one whose other platforms were never pulled
    (https://docs.docker.com/reference/api/engine/version/v1.48/#tag/Image/operation/ImageGetAll).
    Older engines hold one platform per image. Raises `EnvironmentMissingError` if they cannot.
    """
    archive = directory / "image.tar"
    api: Any = engine.client.api
    asked: dict[str, object] = {"names": list(references)}
    if version_gte(api.api_version, _PLATFORM_SINCE):
        facts = engine.client.images.get(references[0]).attrs
        asked["platform"] = json.dumps({"os": facts["Os"], "architecture": facts["Architecture"]})
    try:
        title = f"saving {' and '.join(references)}"
        with step(title) as progress, archive.open("wb") as file:
            answer = api._get(api._url("/images/get"), params=asked, stream=True)  # noqa: SLF001
            api._raise_for_status(answer)  # noqa: SLF001
            for chunk in answer.iter_content(_CHUNK):
                file.write(chunk)
                progress.transferred(file.tell())
    except DockerException as error:
        raise EnvironmentMissingError(
            f"the engine cannot save {' and '.join(references)}: {error}"
        ) from error
    return archive


def save_regional(
    engine: Engine, references: Sequence[str], regions: Sequence[Region], directory: Path
) -> Path:
    """Save the images of `regions` that are derived from `references` as one archive.

    Each is named like the image that it is derived from, with the suffix `-REGION`, as in a
    release. Every reference needs a tag. Raises `EnvironmentMissingError` if the engine cannot
    export an image, and `NotProvenError` if one lacks a region.
    """
    table = load_regions()
    exported: dict[str, ImageLayout] = {}
    images = {}
    for reference in references:
        image_id = str(find_image(engine.client, reference).id)
        if image_id not in exported:
            exported[image_id] = export_image(engine.client, image_id, directory / image_id[7:])
        for region in regions:
            images[f"{reference}-{region.name}"] = derive(exported[image_id], region, table)
    archive = directory / "regional.tar"
    with step(f"saving {len(images)} images of single regions"), tarfile.open(archive, "w") as tar:
        write_archive(tar, images)
    return archive
