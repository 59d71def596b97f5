"""FR-014 (environment unchanged): the plugin gets the container's, except for its own port."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, cast

import pytest

from harness.verify import inside
from harness.verify.environment_checks import ENVIRON, OWN_PORT, differences

from .fakes import REGIONS

REGION = REGIONS[0]
GIVEN = {"PATH": "/bin", **ENVIRON}
RIGHT = {name.encode(): value.encode() for name, value in GIVEN.items()} | {
    OWN_PORT.encode(): b"18001",
    b"HOSTNAME": b"0123456789ab",
}


def test_fr_014_own_port_is_the_one_variable_that_differs() -> None:
    """FR-014: the environment plus the region's own port is correct."""
    assert GIVEN[OWN_PORT] != "18001"
    assert differences(GIVEN, RIGHT, REGION) == []


def test_fr_014_own_port_is_there_when_none_was_given() -> None:
    """FR-014: if the container does not set the port, the region still gets its own."""
    given = {name: value for name, value in GIVEN.items() if name != OWN_PORT}
    assert differences(given, RIGHT, REGION) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        pytest.param({b"FINFOCUS_PLUGIN_PORT": b"7001"}, "not '18001'", id="port-of-container"),
        pytest.param({b"FINFOCUS_PLUGIN_PORT": b"18002"}, "not '18001'", id="another's-port"),
        pytest.param({b"FINFOCUS_PLUGIN_PORT": None}, "is missing", id="no-port"),
        pytest.param({b"PORT": b"18001"}, "PORT is '18001', not '7002'", id="PORT-changed"),
        pytest.param({b"PORT": None}, "PORT is missing", id="PORT-missing"),
        pytest.param({b"PROOF_SPACES": b"two spaces"}, "PROOF_SPACES is", id="spaces"),
        pytest.param({b"PROOF_EMPTY": None}, "PROOF_EMPTY is missing", id="empty-is-missing"),
        pytest.param({b"PROOF_UNICODE": b"\xff"}, "PROOF_UNICODE is", id="not-utf-8"),
        pytest.param({b"SHLVL": b"1"}, "SHLVL is added", id="added-by-a-shell"),
    ],
)
def test_fr_014_every_other_difference_is_told(
    change: dict[bytes, bytes | None], problem: str
) -> None:
    """FR-014: a changed, missing or added variable is named."""
    actual = {k: v for k, v in (RIGHT | change).items() if v is not None}
    (found,) = differences(GIVEN, actual, REGION)
    assert problem in found


class Container:
    """Responds to `base64 </proc/42/environ`."""

    def __init__(self, environ: bytes) -> None:
        self._output = base64.encodebytes(environ)

    def execute(self, _command: Sequence[str], **_: Any) -> tuple[int, bytes]:
        return 0, self._output


def test_first_of_two_values_counts() -> None:
    """As for getenv(3) and Go, the first entry of a name counts."""
    container = cast("Any", Container(b"A=1\0B=x=y\nz\0A=2\0C=\0"))
    assert inside.environment(container, 42) == {b"A": b"1", b"B": b"x=y\nz", b"C": b""}
