"""A memory limit that is too small for the regions: what is said, and what then happens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

import requests

from harness.core.regions import METRICS_PORT

from .front import must
from .moments import MOMENTS, starting_at_full_size
from .row import EVERY, RESTARTS, Row
from .world import World

WARNING = "raise the limit, or run fewer regions"
MIB = 1 << 20
BELOW, ABOVE, HELD = 100, 600, 60  # MiB: of the container, and what each region is made to hold
DEATH_SECONDS = 120  # in which the restarts are used up
FULL_READY_SECONDS = 90
FULL_NEED_MIB = 6000  # at least, for twelve regions with price lists of the real size


def _limited(mib: int) -> dict[str, object]:
    return {"mem_limit": f"{mib}m", "memswap_limit": f"{mib}m"}


def _metric(world: World, name: str) -> int:
    text = requests.get(world.container.url(METRICS_PORT, "/metrics"), timeout=5).text
    found = re.findall(rf"(?m)^{name} (\d+)$", text)
    must(found, f"no metric {name}")
    return int(found[0])


def _check_said(world: World, limit: int, *, too_small: bool) -> None:
    """The warning is one line with both numbers, or there is none; the metrics agree with it."""
    said = world.count(WARNING)
    if too_small:
        must(said == 1, f"it does not say that the memory limit is too small: {said} lines")
        must(world.said(f"the memory limit is {limit} MiB"), "the warning has another limit")
    else:
        must(said == 0, "it says that the memory limit is too small")
    have, need = (_metric(world, f"finfocus_memory_{word}_bytes") for word in ("limit", "need"))
    world.note(f"limit {have // MIB} MiB, need {need // MIB} MiB")
    must(have == limit * MIB, f"finfocus_memory_limit_bytes is {have}")
    must((have < need) == too_small, f"finfocus_memory_need_bytes is {need}")


def _too_small(mib: int, world: World) -> None:
    world.start(0)
    world.container.wait_dead(DEATH_SECONDS)
    must(world.container.dead.is_set(), "the kernel kills nothing, or it is started without an end")
    must(not world.ends["proxy"], "the kernel killed the proxy")
    must(not world.ends["log-writer"], "the kernel killed the log writer")
    world.note(f"{world.ends.total()} ends of regions, limit {mib} MiB")


def _full_too_small(mib: int, world: World) -> None:
    _too_small(mib, world)
    need = re.search(r"regions need about (\d+) MiB", _warning(world))
    must(need and int(need[1]) >= FULL_NEED_MIB, f"the warning says {need and need[1]} MiB")


def _warning(world: World) -> str:
    lines = world.container.log.kept().get("-", ())
    return next((line.text for line in lines if WARNING in line.text), "")


def _full_enough(mib: int, world: World) -> None:
    world.start(FULL_READY_SECONDS)
    _check_said(world, mib, too_small=False)
    must(not world.ends, f"regions ended: {dict(world.ends)}")


def rows() -> Iterator[Row]:
    """The rows of this file."""
    for name, mib, promised in (
        ("told", BELOW, "one log line with the remedy, and two metrics, report it"),
        ("enough", ABOVE, "no log line says that it is too small"),
    ):
        yield Row(
            name=f"memory-{name}",
            requirement="FR-019",
            done=f"a memory limit of {mib} MiB, {'below' if name == 'told' else 'above'} the need",
            promised=f"{promised}; all regions serve",
            act=partial(_check_said, limit=mib, too_small=name == "told"),
            extra=_limited(mib),
        )
    yield Row(
        name="memory-too-small",
        requirement="FR-017",
        done=f"each region holds {HELD} MiB; the memory limit is {HELD * 5} MiB",
        promised=(
            "the kernel kills regions repeatedly, never the proxy or log writer; when one has no"
            " restart left, the container exits with code 1 and names the region and code 137"
        ),
        act=partial(_too_small, HELD * 5),
        ready_seconds=0,
        environ={"STANDIN_MEMORY": str(HELD)},
        extra=_limited(HELD * 5),
        ends=True,
        exit_code=1,
        stop_seconds=DEATH_SECONDS,
        last_words=f"failed again after {RESTARTS} restarts (exit 137)",
    )
    yield from _full_size()


def _full_size() -> Iterator[Row]:
    for gib in (4, 9):
        small = gib == 4
        yield Row(
            name=f"full-size-memory-{gib}-gib",
            requirement="FR-017" if small else "SC-002",
            done=f"price lists of the real size; the memory limit is {gib} GiB",
            promised=(
                "a warning states the need; the kernel kills regions repeatedly; when one has no"
                " restart left, the container exits with code 1 and names the region and code 137"
                if small
                else "no warning; nothing is killed; all regions become ready and serve"
            ),
            act=partial(_full_too_small if small else _full_enough, gib * 1024),
            ready_seconds=0,
            extra=_limited(gib * 1024),
            ends=small,
            exit_code=1 if small else 0,
            stop_seconds=DEATH_SECONDS if small else 5,
            last_words=f"failed again after {RESTARTS} restarts (exit 137)" if small else "",
            full_size=True,
        )
    yield Row(
        name=f"full-size-term-{MOMENTS}-moments-of-start",
        requirement="SC-003",
        done=f"SIGTERM at {MOMENTS} moments of a staged start with price lists of the real size",
        promised="exits with code 0 within 5 s, every time",
        act=starting_at_full_size,
        ready_seconds=0,
        hit=EVERY,
        ends=True,
        full_size=True,
    )
