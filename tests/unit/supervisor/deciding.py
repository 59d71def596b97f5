"""Drives image/supervisor/step.lua in this process, with a clock that the test moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from lupa import lua53

from harness.core.regions import IMAGE_DIRECTORY

Action = dict[str, Any]
"""One action of the supervisor; `kind` says which."""

SETTINGS: Mapping[str, float] = {
    "max_restarts": 3,
    "stable_seconds": 60,
    "startup_seconds": 120,
    "unhealthy_seconds": 30,
    "stop_seconds": 4,
    "start_parallel": 2,
}
NAMES = ("us-east-1", "eu-west-1", "sa-east-1", "us-west-2")

_lua = lua53.LuaRuntime(unpack_returned_tuples=True)
_lua.execute("package.path = ...", f"{IMAGE_DIRECTORY}/?.lua")
_step = _lua.require("supervisor.step")


def to_lua(value: Any) -> Any:
    """Turn dictionaries and lists into tables, all the way down."""
    if isinstance(value, Mapping):
        return _lua.table_from({key: to_lua(entry) for key, entry in value.items()})
    if isinstance(value, list | tuple):
        return _lua.table_from([to_lua(entry) for entry in value])
    return value


def from_lua(value: Any) -> Any:
    """Turn tables into dictionaries, all the way down."""
    if lua53.lua_type(value) == "table":
        return {key: from_lua(entry) for key, entry in value.items()}
    return value


class Decider:
    """A supervisor's state with its clock; each event returns the actions it asks for.

    Every `check_every`-th call checks that `step` left the state alone that it was given.
    """

    def __init__(self, names: Sequence[str] = NAMES, **settings: float) -> None:
        regions = [{"name": name, "port": 18001 + index} for index, name in enumerate(names)]
        self.settings = {**SETTINGS, **settings}
        self.names = tuple(names)
        self.now = 1000.0
        self._next_pid = 100
        self.asked: list[str] = []
        self.check_every = 1
        self._sent = 0
        self._state = _step.new(to_lua({**self.settings, "regions": regions}))

    def send(self, kind: str, **event: Any) -> list[Action]:
        """Let an event happen now."""
        self._sent += 1
        given, checked = self._state, self._sent % self.check_every == 0
        before = from_lua(given) if checked else None
        self._state, actions = _step.step(given, to_lua({"kind": kind, **event}), self.now)
        assert not checked or from_lua(given) == before, "step changed the state it was given"
        asked = [from_lua(action) for action in actions.values()]
        self.asked += starts(asked)
        return asked

    def tick(self, seconds: float = 0.0) -> list[Action]:
        """Let time pass."""
        self.now += seconds
        return self.send("tick")

    def start_due(self) -> list[str]:
        """Tick, and start what was asked for until nothing is; returns the names in order."""
        self.tick()
        started: list[str] = []
        while self.asked:
            started.append(self.asked[0])
            self.started(self.asked[0])
        return started

    def started(self, name: str) -> list[Action]:
        """Its process runs from now on."""
        if name in self.asked:
            self.asked.remove(name)
        self._next_pid += 1
        return self.send("started", name=name, pid=self._next_pid, wall=1.7e9 + self.now)

    def exited(self, name: str, status: int = 1) -> list[Action]:
        """Its process has ended."""
        return self.send("exited", name=name, status=status)

    def health(self, **up: bool) -> list[Action]:
        """Hand over what the proxy's checks say; names with `_` for `-`."""
        states = {name.replace("_", "-"): value for name, value in up.items()}
        checks = {name: "L7OK" if value else "L4CON" for name, value in states.items()}
        return self.send("health", up=states, check=checks)

    def make_ready(self, *names: str) -> list[Action]:
        """Let these regions listen and become healthy."""
        actions = []
        for name in names:
            actions += self.send("listening", name=name)
            actions += self.health(**{name.replace("-", "_"): True})
        return actions

    def run_all(self) -> None:
        """Start everything and make every region ready."""
        while started := self.start_due():
            self.make_ready(*(name for name in started if name in self.names))
        assert {self.state_of(name) for name in self.names} == {"ready"}

    def stop(self) -> list[Action]:
        """Ask the container to stop."""
        return self.send("signal", signal="SIGTERM")

    def process(self, name: str) -> dict[str, Any]:
        """What is known of a process."""
        return cast(dict[str, Any], from_lua(self._state.process[name]))

    def listens(self, name: str) -> bool:
        """Whether it was seen to accept connections."""
        return bool(self._state.process[name].listening)

    def state_of(self, name: str) -> str:
        """The process's state."""
        return str(self._state.process[name].state)

    def running(self) -> list[str]:
        """Names with a process, in start order."""
        order = from_lua(self._state.order).values()
        return [name for name in order if self._state.process[name].pid]

    @property
    def phase(self) -> str:
        """`running`, or how far the stop is."""
        return str(self._state.phase)

    def wait(self) -> float:
        """Seconds until `step` wants the next look."""
        return float(_step.wait(self._state, self.now))

    def fail(self, words: str) -> None:
        """The supervisor itself fails."""
        before = from_lua(self._state)
        given = self._state
        self._state = _step.fail(given, words, self.now)
        assert from_lua(given) == before, "fail changed the state it was given"


def of_kind(actions: Sequence[Action], kind: str) -> list[Action]:
    """The actions of one kind."""
    return [action for action in actions if action["kind"] == kind]


def starts(actions: Sequence[Action]) -> list[str]:
    """Names that are to be started, in order."""
    return [action["name"] for action in of_kind(actions, "start")]


def signals(actions: Sequence[Action]) -> list[tuple[str, str]]:
    """Names and signals, in order."""
    return [(action["name"], action["signal"]) for action in of_kind(actions, "signal")]


def words(actions: Sequence[Action]) -> list[tuple[str, str, str]]:
    """Level, region and message of what is said."""
    return [(a["level"], a["region"], a["message"]) for a in of_kind(actions, "say")]
