"""Names that the Helm chart gives to Kubernetes objects; the chart defines them."""

from harness.core.regions import Region

APP = "finfocus-plugin-aws-public"
"""The chart, and each object of a release with that name."""
REGION_LABEL = "finfocus.com/region"
SPLIT_RELEASE = "regions"
"""The smoke test's release with the layout `perRegion`."""


def service_name(region: Region, *, split: bool) -> str:
    """Return the name of the Service for `region`: shared, or its own if `split`."""
    return f"{SPLIT_RELEASE}-{APP}-{region.name}" if split else APP
