"""OCI images on disk: export from the engine, and verification by digest."""

from harness.oci.descriptor import Descriptor, MediaType, Platform, canonical_json, sha256
from harness.oci.export import export_image
from harness.oci.layout import ImageLayout, verify_layout

__all__ = [
    "Descriptor",
    "ImageLayout",
    "MediaType",
    "Platform",
    "canonical_json",
    "export_image",
    "sha256",
    "verify_layout",
]
