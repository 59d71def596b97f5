"""Run one command in a running container, limited in time and output."""

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
    """Exit code (-1 if the engine has none) and output, stdout and stderr, of a command inside.

    Raises `HarnessError` if it runs longer than a minute, prints more than 16 MiB, or the
    connection breaks, and docker-py's `APIError` if the container accepts no further command.
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
                        problems.append(f"printed more than {OUTPUT_BYTES} bytes")
                        return
        except APIError as error:
            problems.append(f"failed to run: {error.explanation}")
        except BROKEN as error:
            problems.append(f"lost its connection: {error}")

    # A read from the engine has no timeout; it ends when the container exits.
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(EXECUTE_SECONDS)
    if reader.is_alive():
        problems.append(f"timed out after {EXECUTE_SECONDS} s")
    if problems:
        raise HarnessError(f"{command[0]} inside the container {problems[0]}")
    code = api.exec_inspect(name)["ExitCode"]
    return -1 if code is None else int(code), bytes(output)


def _output_of(api: Any, name: str) -> Generator[bytes, None, None]:
    """The output of a command inside, as a stream.

    docker-py's own `exec_start` skips the buffer of the response header and so loses output that
    arrives together with the header, as it does from a slow engine.
    """
    url, how = api._url("/exec/{0}/start", name), {"Detach": False, "Tty": False}  # noqa: SLF001
    answer = api._post_json(url, data=how, stream=True)  # noqa: SLF001
    # Close even after a partial read: the engine reports no exit while a reader is connected.
    with closing(answer):
        api._raise_for_status(answer)  # noqa: SLF001
        yield from api._multiplexed_response_stream_helper(answer)  # noqa: SLF001
