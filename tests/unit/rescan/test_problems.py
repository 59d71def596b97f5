"""What the scans found, grouped, and what would fix it."""

from __future__ import annotations

import pytest

from harness.rescan.problems import Remedy, problems_in, rebuild_command
from harness.rescan.render import render_issue
from harness.scan import LayerClass, Severity

from .findings import finding, image, problem, report

REBUILD = "nox -s release -- v1.2.3 --revision 1"


def test_one_problem_per_vulnerability_and_package_in_all_images() -> None:
    """Two images with the same finding have one problem; another package has its own."""
    amd64, arm64 = image(), image(architecture="arm64", digit="b")
    found = problems_in(
        [
            (amd64, report(finding(), finding(package="bash"), finding("CVE-2"))),
            (arm64, report(finding())),
        ]
    )
    assert [(p.id, p.package, len(p.affected)) for p in found] == [
        ("CVE-1", "bash", 1),
        ("CVE-1", "haproxy", 2),
        ("CVE-2", "haproxy", 1),
    ]


def test_only_critical_and_high_are_problems_the_worst_first() -> None:
    """Medium and below open no issue."""
    found = problems_in(
        [
            (
                image(),
                report(
                    finding("CVE-1", severity=Severity.HIGH),
                    finding("CVE-2", severity=Severity.CRITICAL),
                    finding("CVE-3", severity=Severity.MEDIUM),
                ),
            )
        ]
    )
    assert [p.id for p in found] == ["CVE-2", "CVE-1"]


@pytest.mark.parametrize(
    ("layer", "fixed", "remedy", "words"),
    [
        pytest.param(
            *(LayerClass.PACKAGES, "2.8.11-r0", Remedy.REBUILD, f"$ {REBUILD}"), id="package-fixed"
        ),
        pytest.param(
            *(LayerClass.BASE, "2.8.11-r0", Remedy.REBUILD, f"$ {REBUILD}"), id="base-fixed"
        ),
        pytest.param(*(LayerClass.BASE, "", Remedy.NONE, "Neither the base"), id="base-not-fixed"),
        pytest.param(
            *(LayerClass.PLUGIN, "0.17.0", Remedy.PLUGIN, "the fix is in `0.17.0`"),
            id="plugin-fixed",
        ),
        pytest.param(
            *(LayerClass.PLUGIN, "", Remedy.PLUGIN, "there is no fix yet"), id="plugin-not-fixed"
        ),
    ],
)
def test_issue_says_what_would_fix_it(
    layer: LayerClass, fixed: str, remedy: Remedy, words: str
) -> None:
    """A rebuild where base or package has the fix, else the plugin, or nothing yet."""
    found = problem(finding(layer=layer, fixed=fixed))
    assert found.remedy is remedy
    text = render_issue(found, REBUILD)
    assert remedy.value.capitalize() in text
    assert words in text
    assert (REBUILD in text) is (remedy is Remedy.REBUILD)


def test_problem_of_an_older_revision_only_is_not_open() -> None:
    """The version's first image never changes: what its revision fixes is fixed."""
    old, new = image("v1.2.3", newest=False), image("v1.2.3-r1", "latest", digit="b")
    found = problems_in([(old, report(finding(), finding("CVE-2"))), (new, report(finding()))])
    assert {p.id: p.open for p in found} == {"CVE-1": True, "CVE-2": False}


def test_rebuild_is_the_next_revision_of_the_newest_version() -> None:
    """The command can be copied."""
    images = [image("v1.2.3"), image("v1.2.3-r1", "latest", digit="b")]
    assert rebuild_command(images[:1]) == REBUILD
    assert rebuild_command(images) == "nox -s release -- v1.2.3 --revision 2"
    assert rebuild_command([image("latest")]) == ""


def test_text_of_the_database_is_shown_as_it_is() -> None:
    """A title can neither mention people, nor break the table, nor contain HTML."""
    text = render_issue(problem(finding(package="a|b`c")), REBUILD)
    assert r"\@someone" in text
    assert "<b>" not in text
    assert "`a¦b'c`" in text
