"""Where credentials come from, in which order, and that they never appear in output."""

from __future__ import annotations

import base64
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import EnvironmentMissingError
from harness.registry import Secret, credentials, find_credentials

AUTH = base64.b64encode(b"bob:pass:word").decode()


def config(directory: Path, **content: Any) -> dict[str, str]:
    (directory / "config.json").write_text(json.dumps(content), encoding="utf-8")
    return {"DOCKER_CONFIG": str(directory)}


def helper(directory: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = directory / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(directory), prepend=":")


def pair(found: Any) -> tuple[str, str]:
    return found.username, found.secret.reveal()


def test_github_token_is_for_github_only(tmp_path: Path) -> None:
    """GITHUB_TOKEN comes first for ghcr.io and is never sent to another registry."""
    environ = config(tmp_path, auths={"ghcr.io": {"auth": AUTH}, "other.example": {"auth": AUTH}})
    environ |= {"GITHUB_TOKEN": "ghs_x", "GITHUB_ACTOR": "alice"}
    assert pair(find_credentials("ghcr.io", environ)) == ("alice", "ghs_x")
    assert pair(find_credentials("other.example", environ)) == ("bob", "pass:word")
    assert find_credentials("third.example", environ) is None


def test_no_configuration_is_no_credentials(tmp_path: Path) -> None:
    """A machine without Docker's configuration has no credentials."""
    assert find_credentials("ghcr.io", {"DOCKER_CONFIG": str(tmp_path)}) is None


def test_entry_may_have_an_identity_token(tmp_path: Path) -> None:
    """An identity token is used instead of a password, and marked as such."""
    environ = config(tmp_path, auths={"https://r.example": {"identitytoken": "refresh-me"}})
    found = find_credentials("r.example", environ)
    assert found
    assert found.identity_token
    assert found.secret.reveal() == "refresh-me"


def test_defect_in_asking_a_helper_is_not_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only Docker's configuration can be "not as docker login leaves it", not our own code."""
    monkeypatch.setattr(credentials, "_from_helper", None)
    with pytest.raises(TypeError):
        find_credentials("r.example", config(tmp_path, credsStore="test"))


@pytest.mark.parametrize("setting", ["credHelpers", "credsStore"])
def test_helper_is_asked_for_the_registry(
    setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The helper gets the registry's name on stdin and responds in JSON."""
    script = (
        'read -r name; [ "$1 $name" = "get r.example" ] || exit 3\n'
        'echo \'{"ServerURL":"r.example","Username":"carol","Secret":"s3cret"}\''
    )
    helper(tmp_path, "test", script, monkeypatch)
    value = {"r.example": "test"} if setting == "credHelpers" else "test"
    environ = config(tmp_path, **{setting: value, "auths": {"r.example": {}}})
    assert pair(find_credentials("r.example", environ)) == ("carol", "s3cret")


def test_helper_without_an_entry_leaves_it_to_auths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ "Not found" is a valid response of a helper, not an error."""
    script = "echo credentials not found in native keychain; exit 1"
    helper(tmp_path, "none", script, monkeypatch)
    environ = config(tmp_path, credsStore="none", auths={"r.example": {"auth": AUTH}})
    assert pair(find_credentials("r.example", environ)) == ("bob", "pass:word")


@pytest.mark.parametrize(
    "script",
    [
        *("echo boom >&2; exit 1", 'echo \'{"Secret":"s3cret"}\'', "echo s3cret"),
        *("echo '[\"s3cret\"]'", 'echo \'{"Username":1,"Secret":"s3cret"}\''),
    ],
)
def test_broken_helper_is_named_and_its_output_is_not_told(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A helper that fails or returns garbage gives an error with its name and no secret."""
    helper(tmp_path, "bad", script, monkeypatch)
    with pytest.raises(EnvironmentMissingError, match="docker-credential-bad") as caught:
        find_credentials("r.example", config(tmp_path, credsStore="bad"))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("text", ['{"auths": {"r.example": {"auth": "czNjcmV0"', "s3cret"])
def test_broken_configuration_is_named_and_not_quoted(text: str, tmp_path: Path) -> None:
    """An unreadable configuration is named in the error, but its content is not."""
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(EnvironmentMissingError, match=r"cannot read .*config\.json") as caught:
        find_credentials("r.example", {"DOCKER_CONFIG": str(tmp_path)})
    assert "czNj" not in str(caught.value) and "s3cret" not in str(caught.value)


SECRET = "czNjcmV0"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param([SECRET], id="no-object"),
        pytest.param({"credHelpers": [SECRET]}, id="helpers-list"),
        pytest.param({"credHelpers": {"r.example": 5}}, id="helper-number"),
        pytest.param({"credsStore": {"a": SECRET}}, id="store-object"),
        pytest.param({"auths": SECRET}, id="auths-text"),
        pytest.param({"auths": {"r.example": SECRET}}, id="entry-text"),
        pytest.param({"auths": {"r.example": {"auth": [SECRET]}}}, id="auth-list"),
        pytest.param({"auths": {"r.example": {"identitytoken": 5}}}, id="token-number"),
        pytest.param({"auths": {"r.example": {"username": "a", "password": 5}}}, id="password"),
        pytest.param(
            {"auths": {"r.example": {"username": "a", "password": "\ud800"}}}, id="surrogate"
        ),
    ],
)
def test_configuration_in_another_form_is_an_error_that_does_not_quote_it(
    content: Any, tmp_path: Path
) -> None:
    """What `docker login` never writes is named by its file; the rest may be a password."""
    (tmp_path / "config.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(EnvironmentMissingError, match="not a valid Docker conf") as caught:
        find_credentials("r.example", {"DOCKER_CONFIG": str(tmp_path)})
    assert SECRET not in str(caught.value)


def test_secret_shows_itself_to_nobody() -> None:
    """No way of printing a secret reveals it, and it cannot be pickled."""
    secret = Secret("hunter2")
    shown = [str(secret), repr(secret), f"{secret}", f"{secret:>20}", str([secret])]
    assert not any("hunter2" in text for text in shown)
    with pytest.raises(TypeError):
        pickle.dumps(secret)
