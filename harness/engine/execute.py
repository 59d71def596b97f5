"""One command inside a running container, bounded in time and output: an image may do anything."""

import threading
from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Any

from docker.errors import APIError
from docker.models.containers import Container

from harness.core.errors import HarnessError
from harness.engine.logs import BROKEN

EXECUTE_SECONDS = 60
OUTPUT_BYTES = 16 << 20


def execute(container: Container, command: Sequence[str], user: str = "") -> tuple[int, bytes]:
    """Exit code (-1 when the engine has none) and output, stdout and stderr, of a command inside.

    Raises `HarnessError` when it does not end within a minute, prints more than 16 MiB, or the
    engine breaks off, and docker-py's `APIError` when the container cannot have another command.
    """
    client: Any = container.client
    api = client.api
    name = api.exec_create(container.id, list(command), user=user)["Id"]
    output, problems = bytearray(), []

    def read() -> None:
        try:
            with closing(_output_of(api, name)) as chunks:
                for chunk in chunks:
                    output.extend(chunk)
                    if len(output) > OUTPUT_BYTES:
                        problems.append(f"prints more than {OUTPUT_BYTES} bytes")
                        return
        except APIError as error:
            problems.append(f"cannot run: {error.explanation}")
        except BROKEN as error:
            problems.append(f"broke off: {error}")

    # A read from the engine has no time limit of its own; the container's end ends it.
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(EXECUTE_SECONDS)
    if reader.is_alive():
        problems.append(f"does not end within {EXECUTE_SECONDS} s")
    if problems:
        raise HarnessError(f"{command[0]} inside the container {problems[0]}")
    code = api.exec_inspect(name)["ExitCode"]
    return -1 if code is None else int(code), bytes(output)


def _output_of(api: Any, name: str) -> Generator[bytes, None, None]:
    """What a command inside prints, as it comes.

    docker-py's own `exec_start` reads past the buffer of the answer's head: what comes together
    with the head, as from an engine that is slow, is lost.
    """
    url, how = api._url("/exec/{0}/start", name), {"Detach": False, "Tty": False}  # noqa: SLF001
    answer = api._post_json(url, data=how, stream=True)  # noqa: SLF001
    # Closed also when nobody reads on: the engine tells of no end before its last reader is gone.
    with closing(answer):
        api._raise_for_status(answer)  # noqa: SLF001
        yield from api._multiplexed_response_stream_helper(answer)  # noqa: SLF001
