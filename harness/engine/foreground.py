"""Run an image in the foreground, and print logs for people."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import IO

import docker
from docker.errors import NotFound
from rich.text import Text

from harness.core.console import escaped, printable, say, stderr
from harness.core.errors import UsageError
from harness.core.regions import METRICS_PORT, SELECTION, Region, load_regions, regions_in_image
from harness.engine.container import Options, created
from harness.engine.logs import NO_REGION, LogLine, judge
from harness.engine.provision import container_engine
from harness.engine.pull import find_image

_COLOURS = ("cyan", "green", "magenta", "blue", "yellow", "bright_cyan", "bright_green", "white")
_LEVELS = {"error": "bold red", "fatal": "bold red", "warn": "yellow", "debug": "dim"}
STOP_SECONDS = 10


def run(
    client: docker.DockerClient,
    image: str,
    regions: Sequence[str],
    environ: Sequence[str],
    *,
    as_json: bool = False,
) -> int:
    """Run `image` until it exits or Ctrl+C; return the container's exit code.

    `regions` limits which regions run; `environ` has entries `NAME=VALUE`. `as_json` prints the log
    as `show_logs` does.
    """
    table = regions_in_image(find_image(client, image).labels, load_regions())
    given = dict(entry.partition("=")[::2] for entry in environ)
    if regions:
        given[SELECTION] = ",".join(regions)
    ports = {f"{port}/tcp": ("127.0.0.1", port) for port in (*_ports(regions, table), METRICS_PORT)}
    names = [region.name for region in table]
    options = Options(environ=given)
    show = _print_json if as_json else _print
    with created(client, image, names, options, published=ports) as container:
        container.log.listen(lambda line: show(line, []))
        container.start(())
        say(f"readiness: http://127.0.0.1:{METRICS_PORT}/readyz; press Ctrl+C to stop")
        try:
            container.dead.wait()
        except KeyboardInterrupt:
            container.signal("SIGINT")
            container.wait_dead(STOP_SECONDS)
        container.log.finish()
        return container.exit_code or 0


def _ports(regions: Sequence[str], table: Sequence[Region]) -> Iterator[int]:
    ports = {region.name: region.port for region in table}
    for name in regions or ports:
        if name not in ports:
            raise UsageError(f"region {name!r} is not in the image. Use one of {', '.join(ports)}.")
        yield ports[name]


def show_logs(
    container: str, regions: Sequence[str], *, follow: bool, as_json: bool = False
) -> None:
    """Print the log of `container` ("-" for standard input), limited to `regions` if given.

    With `as_json` every line of stdout is one JSON object: a JSON line as it was logged, any other
    line as `{"region": …, "text": …}`.
    """
    show = _print_json if as_json else _print
    names = frozenset(region.name for region in load_regions())
    if container == "-":
        _print_all(_stdin_lines(sys.stdin.buffer), names, regions, show)
        return
    with container_engine() as engine:
        try:
            found = engine.client.containers.get(container)
        except NotFound as error:
            raise UsageError(
                f"no such container: {container}. Run `docker ps -a` to list them."
            ) from error
        with suppress(KeyboardInterrupt):
            _print_all(_lines(found.logs(stream=True, follow=follow)), names, regions, show)


def _stdin_lines(stream: IO[bytes]) -> Iterator[bytes]:
    for line in stream:
        yield line.rstrip(b"\n")


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *complete, rest = (rest + chunk).split(b"\n")
        yield from complete
    if rest:
        yield rest


def _print_all(
    lines: Iterable[bytes],
    names: frozenset[str],
    regions: Sequence[str],
    show: Callable[[LogLine, Sequence[str]], None],
) -> None:
    for raw in lines:
        show(judge(raw, 0, names), regions)


def _print_json(line: LogLine, regions: Sequence[str]) -> None:
    if regions and (line.region or NO_REGION) not in regions:
        return
    if line.fields is None:
        text = line.text.removeprefix(f"[{line.region}] ")
        print(json.dumps({"region": line.region or NO_REGION, "text": text}), flush=True)
        return
    # A carriage return outside a string is whitespace; the other controls are inside strings.
    print(escaped(line.text.replace("\r", " ").strip()), flush=True)


def _print(line: LogLine, regions: Sequence[str]) -> None:
    region = line.region or NO_REGION
    if regions and region not in regions:
        return
    colour = _COLOURS[sum(region.encode()) % len(_COLOURS)]
    text = Text(f"{region:>14} ", style=colour)
    if line.fields is None:
        text.append(printable(line.text.removeprefix(f"[{region}] ")))
    else:
        level = str(line.fields.get("level", ""))
        time_of_day = str(line.fields.get("timestamp", ""))[11:19]
        text.append(printable(f"{time_of_day} {level:5} "), style=_LEVELS.get(level, ""))
        text.append(printable(str(line.fields.get("message", line.text))))
    if sys.stdout.isatty():
        stderr.print(text)
    else:
        print(text.plain)
