"""How the harness judges log lines."""

import pytest

from harness.engine.logs import KEPT_CHARACTERS, NO_REGION, LogStream, judge

REGIONS = frozenset({"us-east-1"})
GOOD = '"region":"us-east-1","timestamp":"t","level":"info"'


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        pytest.param(f"{{{GOOD}}}", "", id="FR-020-good"),
        pytest.param('{"region":"-","timestamp":"t","level":"info"}', "", id="FR-013-own-line"),
        pytest.param("[us-east-1] PORT=18001", "", id="FR-013-prefixed"),
        pytest.param("[-] words of the proxy", "", id="FR-013-own-plain-line"),
        pytest.param("PORT=18001", "no region prefix", id="FR-013-no-prefix"),
        pytest.param("[mars] PORT=1", "no region prefix", id="FR-013-unknown-prefix"),
        pytest.param(f"{{{GOOD}", "not valid JSON", id="FR-013-torn"),
        pytest.param(f"{{{GOOD}}}x", "not valid JSON", id="FR-013-trailing"),
        pytest.param(f'{{{GOOD},"level":"x"}}', "a key appears twice", id="FR-013-duplicate-key"),
        pytest.param(f'{{{GOOD},"a":{{"b":1,"b":2}}}}', "a key appears twice", id="FR-013-nested"),
        pytest.param('{"region":"us-east-1"}', "missing timestamp, level", id="FR-020-missing"),
        pytest.param(
            '{"region":"mars","timestamp":"t","level":"info"}',
            "region is 'mars'",
            id="FR-013-unknown-region",
        ),
        pytest.param(
            '{"region":["us-east-1"],"timestamp":"t","level":"info"}',
            "region is ['us-east-1']",
            id="FR-013-region-is-no-text",
        ),
        pytest.param("[" * 100_000, "no region prefix", id="deep"),
        pytest.param('{"a":' * 100_000, "not valid JSON", id="deep-object"),
        pytest.param(f'{{{GOOD},"a":NaN}}', "not valid JSON", id="FR-013-not-a-number"),
        pytest.param(f'{{{GOOD},"a":{"1" * 5000}}}', "", id="FR-013-long-number"),
        pytest.param("", "no region prefix", id="empty"),
    ],
)
def test_a_line_is_judged(raw: str, problem: str) -> None:
    """Each line gets one reason why it is invalid, or none."""
    assert judge(raw.encode(), 0.0, REGIONS).problem == problem


def test_invalid_utf_8_in_json_is_not_valid() -> None:
    """RFC 8259 requires UTF-8."""
    assert judge(b'{"a":"\xff"}', 0.0, REGIONS).problem == "not valid JSON"


class _Printing:
    """A container that prints `chunks`."""

    def __init__(self, chunks: list[bytes]) -> None:
        self.chunks = chunks

    def logs(self, **_: object) -> list[bytes]:
        return self.chunks


def test_line_without_an_end_is_cut_and_kept_short() -> None:
    """Of a 20 MB line only the start is kept, and it is reported as a problem."""
    stream = LogStream(_Printing([b"x" * 1_000_000] * 20), ["us-east-1"])  # type: ignore[arg-type]
    stream.start()
    stream.finish()
    assert stream.lines == 3
    assert stream.problems[0].problem.startswith("longer than")
    assert sum(len(line.text) for line in stream.kept()[NO_REGION]) < 3 * (KEPT_CHARACTERS + 50)
