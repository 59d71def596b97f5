"""Wording that all reports share, so that they cannot disagree with each other."""

from harness.core.proof import Proof

_DIGEST_DIGITS = 12


def stand_in_lines(proof: Proof) -> list[str]:
    """What was not the real thing, one line each; one line saying so when all of it was."""
    if not proof.stand_ins:
        return ["No stand-ins: every part of this run was the real one."]
    return [f"Stand-in {s.kind}: replaces {s.replaces}. {s.why}" for s in proof.stand_ins]


def unchecked_line(proof: Proof) -> str:
    """The requirements the run was to check but has no check for; "" when there are none."""
    missing = proof.requirements_without_check(proof.required)
    return f"No check was made for {', '.join(missing)}." if missing else ""


def short_digest(digest: str) -> str:
    """The first digits of a digest, without the name of its algorithm."""
    return digest.rpartition(":")[2][:_DIGEST_DIGITS]


def utf8(text: str) -> str:
    """The text without lone surrogates, which undecodable log bytes become and no file can hold."""
    return text.encode("utf-8", errors="replace").decode("utf-8")
