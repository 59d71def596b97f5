"""Scan an image with Trivy and decide whether it may be published."""

from harness.scan.checks import with_scan
from harness.scan.model import (
    EndOfLife,
    LayerClass,
    ScannedImage,
    ScanOptions,
    ScanReport,
    Severity,
)
from harness.scan.scan import passed, scan, scan_image
from harness.scan.summary import append_step_summary, render_summary

__all__ = [
    "EndOfLife",
    "LayerClass",
    "ScanOptions",
    "ScanReport",
    "ScannedImage",
    "Severity",
    "append_step_summary",
    "passed",
    "render_summary",
    "scan",
    "scan_image",
    "with_scan",
]
