"""All fuzz targets by name, for libFuzzer and for the corpus replay."""

from __future__ import annotations

from tests.fuzz.targets import documents, log_writer, metrics, registry, saved_image, tables
from tests.fuzz.targets.target import Target

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        log_writer.TARGET,
        metrics.TARGET,
        tables.REGIONS,
        tables.CHECKSUMS,
        tables.IGNORES,
        documents.LOG_LINE,
        documents.DESCRIPTOR,
        documents.LAYOUT,
        saved_image.TARGET,
        documents.TRIVY_REPORT,
        documents.SBOM,
        registry.REFERENCE,
        registry.TOKEN,
        registry.DOCKER_CONFIG,
        registry.ANSWERS,
    )
}
