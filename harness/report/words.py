"""Wording shared by all reports."""

from harness.core.proof import Proof

NO_STAND_INS = "No stand-ins: every component in this run was the real one."
STAND_INS_MEAN = "The components they replace were not tested."

_DIGEST_DIGITS = 12


def stand_in_lines(proof: Proof) -> list[str]:
    """Return one line per stand-in, or one line that says that there are none."""
    if not proof.stand_ins:
        return [NO_STAND_INS]
    return [f"Stand-in {s.kind}: replaces {s.replaces}. {s.why}" for s in proof.stand_ins]


def unchecked_line(proof: Proof) -> str:
    """Name the required requirements that were not checked; "" if there are none."""
    missing = proof.requirements_without_check(proof.required)
    return f"Not checked: {', '.join(missing)}." if missing else ""


def short_digest(digest: str) -> str:
    """Return the first digits of a digest, without the algorithm."""
    return digest.rpartition(":")[2][:_DIGEST_DIGITS]


def utf8(text: str) -> str:
    """Replace lone surrogates, which come from undecodable log bytes and cannot be encoded."""
    return text.encode("utf-8", errors="replace").decode("utf-8")
