"""Write `rendered/`: what the chart makes of the values in its `ci/`.

Run `python -m tests.e2e.kubernetes.render` after changing the chart. The files show a change of the
manifests in review, and are tested where there is no Helm.
"""

from harness.kubernetes.chart import CHART
from harness.kubernetes.helm import Helm, find_helm
from harness.kubernetes.names import APP
from tests.e2e.kubernetes.conftest import LAYOUTS, RENDER, RENDERED


def render(helm: Helm, name: str) -> str:
    """Return the manifests of `ci/NAME-values.yaml`."""
    values = CHART / "ci" / f"{name}-values.yaml"
    return helm.template(CHART, f"--values={values}", *RENDER, name=APP, namespace="finfocus")


def main() -> None:
    """Write every file."""
    for name in LAYOUTS.values():
        (RENDERED / f"{name}.yaml").write_text(render(find_helm(), name), encoding="utf-8")


if __name__ == "__main__":
    main()
