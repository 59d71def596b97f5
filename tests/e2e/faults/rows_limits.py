"""What the container may have too little of: time, processor, processes, files, room, network."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from harness.core.wait import wait_until

from .row import EVERY, JUST_READ, Row
from .rows_regions import ONE, kill
from .seam import with_lua
from .world import World

TINY = {"tmpfs": {"/dev/shm": "size=4k"}}
SMALL = {"shm_size": "1m"}
# The supervisor with another clock on the wall: an hour ahead until the file is there, then right.
CLOCK = """
local time = require "posix.time"
local real = time.clock_gettime
function time.clock_gettime(clock)
  local moment = real(clock)
  if clock == time.CLOCK_REALTIME and not io.open("/dev/shm/stepped") then
    moment.tv_sec = moment.tv_sec + 3600
  end
  return moment
end
"""
FILL = "head -c 100m /dev/zero >/dev/shm/fill 2>/dev/null; true"  # as large as there is room


def _pause(seconds: float, world: World) -> None:
    container = world.container.container
    container.pause()
    world.container.dead.wait(seconds)
    world.strike()
    container.unpause()


def _nothing(_world: World) -> None:
    """The limit itself is the fault."""


def _kill_one(world: World) -> None:
    kill("KILL", ONE, world)


def _limit_processes(world: World, count: int) -> None:
    """Change the limit of the running container; docker-py has no parameter for it."""
    api: Any = world.client.api
    name = world.container.container.id
    api._post_json(api._url("/containers/{0}/update", name), data={"PidsLimit": count})


def _pids_exhausted(seconds: float, world: World) -> None:
    """Nothing can be started for `seconds`, beginning before one region is killed."""
    pid = world.pids(f"finfocus-plugin-aws-public-{ONE[0]}")[0]
    world.in_background(f"sleep 1; kill -KILL {pid}")
    world.container.dead.wait(0.3)
    _limit_processes(world, 1)
    world.container.dead.wait(0.7)
    world.strike()
    world.container.dead.wait(seconds)
    _limit_processes(world, 1000)


def _pids_exhausted_term(world: World) -> None:
    _limit_processes(world, 1)
    world.container.signal("SIGTERM")
    world.strike()


def _pids_exhausted_kill_term(world: World) -> None:
    """A region cannot be started again when SIGTERM comes."""
    pid = world.pids(f"finfocus-plugin-aws-public-{ONE[0]}")[0]
    world.in_background(f"sleep 0.6; kill -KILL {pid}")
    world.container.dead.wait(0.3)
    _limit_processes(world, 1)
    world.container.dead.wait(1.3)
    world.container.signal("SIGTERM")
    world.strike()


def _shm_filled(word: str, world: World) -> None:
    world.shell(FILL)
    if word == "region":
        kill("KILL", ONE, world)
    else:
        before = world.ends["log-writer"]
        world.send("KILL", word)
        world.await_ended("log-writer", before)


def _clock_steps_back(world: World) -> None:
    before = world.ends[ONE[0]]
    world.send_regions("STOP", ONE)
    world.await_said("region is not ready", 5)
    world.shell(": >/dev/shm/stepped")
    world.await_ended(ONE[0], before, 5)


def _no_network(world: World) -> None:
    world.container.start(())
    wait_until(
        lambda: world.container.execute(["/opt/finfocus/healthcheck.sh"])[0] == 0,
        timeout=10,
        what="the health check passes without a network",
    )
    _end_now(world)


def _end_now(world: World) -> None:
    world.container.signal("SIGTERM")
    world.strike()


def _start_and_end(world: World) -> None:
    world.start(0)
    world.container.wait_dead(30)


def rows() -> Iterator[Row]:
    """The rows of this file."""
    for seconds in (1.0, 4.0):
        yield Row(
            name=f"paused-{seconds:g}-s",
            requirement="SC-002",
            done=f"paused for {seconds:g} s and unpaused",
            promised="nothing is restarted; requests fail only during the pause",
            act=partial(_pause, seconds),
            hit=EVERY,
            recovers=2.5,
        )
    yield Row(
        name="cpu-tenth-of-a-core",
        requirement="SC-003",
        done="a limit of 0.1 core from the start",
        promised="ready, though late; exits with code 0 within 5 s",
        act=_nothing,
        ready_seconds=60,
        hit=EVERY,
        extra={"nano_cpus": 100_000_000},
        recovers=20,
    )
    yield Row(
        name="cpu-tenth-of-a-core-kill-9",
        requirement="FR-017",
        done="a limit of 0.1 core; one region is killed",
        promised="it restarts",
        act=_kill_one,
        ready_seconds=60,
        hit=EVERY,
        extra={"nano_cpus": 100_000_000},
        recovers=20,
    )
    yield Row(
        name="processes-few",
        requirement="SC-002",
        done="--pids-limit 400",
        promised="ready within 10 s",
        act=_nothing,
        extra={"pids_limit": 400},
    )
    yield Row(
        name="processes-too-few",
        requirement="FR-017",
        done="--pids-limit 30 from the start",
        promised="the container exits with a code other than 0 and says why",
        act=_start_and_end,
        ready_seconds=0,
        ends=True,
        exit_code=1,
        stop_seconds=30,
        extra={"pids_limit": 30},
        loses_lines="messages of a Go runtime that cannot create a thread",
    )
    yield Row(
        name="processes-exhausted-kill-9",
        requirement="FR-017",
        done="no process or thread can be started for 2 s; one region is killed meanwhile",
        promised="it restarts, and so does every region that needed a new thread",
        act=partial(_pids_exhausted, 2),
        hit=EVERY,
        recovers=20,
    )
    yield Row(
        name="processes-exhausted-for-good",
        requirement="FR-017",
        done="no process or thread can be started from now on; one region is killed",
        promised="the container exits with code 1 and says why",
        act=partial(_pids_exhausted, 25),
        hit=EVERY,
        ends=True,
        exit_code=1,
        stop_seconds=30,
        last_words="no process can be started",
    )
    yield Row(
        name="processes-exhausted-term",
        requirement="SC-003",
        done="no process or thread can be started; SIGTERM",
        promised="exits with code 0 within 5 s",
        act=_pids_exhausted_term,
        hit=EVERY,
        ends=True,
    )
    yield Row(
        name="processes-exhausted-kill-9-term",
        requirement="SC-003",
        done="no process or thread can be started; one region is killed; SIGTERM",
        promised="exits with code 0 within 5 s",
        act=_pids_exhausted_kill_term,
        hit=EVERY,
        ends=True,
    )
    for files in (256, 1024):
        yield Row(
            name=f"files-{files}",
            requirement="SC-002",
            done=f"--ulimit nofile={files}:{files}",
            promised="ready within 10 s; all regions answer",
            act=_nothing,
            extra={"ulimits": [{"Name": "nofile", "Soft": files, "Hard": files}]},
        )
    yield Row(
        name="files-too-few",
        requirement="SC-003",
        done="--ulimit nofile=64:64",
        promised="exit code 64; the last line says what to do",
        act=_start_and_end,
        ready_seconds=0,
        ends=True,
        exit_code=64,
        stop_seconds=30,
        extra={"ulimits": [{"Name": "nofile", "Soft": 64, "Hard": 64}]},
        last_words="raise it with --ulimit nofile=",
    )
    yield Row(
        name="shm-full-at-start",
        requirement="SC-002",
        done="/dev/shm has no room for a page",
        promised="ready within 10 s, using /tmp instead",
        act=_nothing,
        extra=TINY,
    )
    yield Row(
        name="shm-and-tmp-full-at-start",
        requirement="SC-003",
        done="neither /dev/shm nor /tmp has room for a page",
        promised="exit code 64; the last line says what to do",
        act=_start_and_end,
        ready_seconds=0,
        ends=True,
        exit_code=64,
        stop_seconds=30,
        extra={"read_only": True, "tmpfs": {"/dev/shm": "size=4k", "/tmp": "size=4k"}},
        last_words="mount a tmpfs",
    )
    yield Row(
        name="clock-stepped-back",
        requirement="FR-017",
        done="the clock is set back by an hour just after one region gets SIGSTOP",
        promised="it is still found after FINFOCUS_UNHEALTHY_SECONDS=1",
        act=_clock_steps_back,
        hit=frozenset(ONE),
        environ={"FINFOCUS_UNHEALTHY_SECONDS": "1"},
        extra=with_lua(CLOCK),
    )
    for word, name, part in (
        ("region", "kill-9", "one region"),
        ("logmux.lua", "log-writer-kill-9", "the log writer"),
    ):
        yield Row(
            name=f"shm-full-{name}",
            requirement="FR-017",
            doubles_lines=word != "region",
            loses_reads=int(word != "region"),
            done=f"/dev/shm fills up; kill -9 of {part}",
            promised=(
                "it restarts; "
                + ("no line is lost" if word == "region" else JUST_READ)
                + "; the others answer every request"
            ),
            act=partial(_shm_filled, word),
            hit=frozenset(ONE if word == "region" else ()),
            extra=SMALL,
        )
    yield Row(
        name="no-network",
        requirement="FR-015",
        done="--network none",
        promised="the health check inside the container passes; exits with code 0 within 5 s",
        act=_no_network,
        ready_seconds=0,
        ends=True,
        extra={"network_mode": "none"},
    )
    yield Row(
        name="no-ipv6",
        requirement="SC-002",
        done="a network namespace without IPv6",
        promised="ready within 10 s",
        act=_nothing,
        extra={"sysctls": {"net.ipv6.conf.all.disable_ipv6": "1"}},
    )
