"""Drive image/supervisor/step.lua in this process, with a simulated clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from lupa import lua53

from harness.core.regions import IMAGE_DIRECTORY
from harness.core.settings import fixed_numbers

Action = dict[str, Any]
"""One action of the supervisor; `kind` says which."""

SETTINGS: Mapping[str, float] = {**fixed_numbers(), "start_parallel": 2}
NAMES = ("us-east-1", "eu-west-1", "sa-east-1", "us-west-2")

_lua = lua53.LuaRuntime(unpack_returned_tuples=True)
_lua.execute("package.path = ...", f"{IMAGE_DIRECTORY}/?.lua")
_step = _lua.require("supervisor.step")


def to_lua(value: Any) -> Any:
    """Convert dictionaries and lists to Lua tables, recursively."""
    if isinstance(value, Mapping):
        return _lua.table_from({key: to_lua(entry) for key, entry in value.items()})
    if isinstance(value, list | tuple):
        return _lua.table_from([to_lua(entry) for entry in value])
    return value


def from_lua(value: Any) -> Any:
    """Convert Lua tables to dictionaries, recursively."""
    if lua53.lua_type(value) == "table":
        return {key: from_lua(entry) for key, entry in value.items()}
    return value


class Decider:
    """A supervisor's state with its clock; each event returns the requested actions.

    Every `check_every`-th call checks that `step` did not modify the state it was given.
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
        """Send an event now."""
        self._sent += 1
        given, checked = self._state, self._sent % self.check_every == 0
        before = from_lua(given) if checked else None
        self._state, actions = _step.step(given, to_lua({"kind": kind, **event}), self.now)
        assert not checked or from_lua(given) == before, "step changed the state it was given"
        asked = [from_lua(action) for action in actions.values()]
        self.asked += starts(asked)
        return asked

    def tick(self, seconds: float = 0.0) -> list[Action]:
        """Advance the time."""
        self.now += seconds
        return self.send("tick")

    def start_due(self) -> list[str]:
        """Tick, and start what is requested until nothing is left; return the names in order."""
        self.tick()
        started: list[str] = []
        while self.asked:
            started.append(self.asked[0])
            self.started(self.asked[0])
        return started

    def started(self, name: str) -> list[Action]:
        """Report that its process has started."""
        if name in self.asked:
            self.asked.remove(name)
        self._next_pid += 1
        return self.send("started", name=name, pid=self._next_pid, wall=1.7e9 + self.now)

    def exited(self, name: str, status: int = 1) -> list[Action]:
        """Report that its process has exited."""
        return self.send("exited", name=name, status=status)

    def health(self, **up: bool) -> list[Action]:
        """Pass on the proxy's health checks; names with `_` for `-`."""
        states = {name.replace("_", "-"): value for name, value in up.items()}
        checks = {name: "L7OK" if value else "L4CON" for name, value in states.items()}
        return self.send("health", up=states, check=checks)

    def make_ready(self, *names: str) -> list[Action]:
        """Make these regions listen and become healthy."""
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
        """Return the state of a process."""
        return cast(dict[str, Any], from_lua(self._state.process[name]))

    def listens(self, name: str) -> bool:
        """Return whether it was seen to accept connections."""
        return bool(self._state.process[name].listening)

    def state_of(self, name: str) -> str:
        """Return the process's state name."""
        return str(self._state.process[name].state)

    def running(self) -> list[str]:
        """Return names with a process, in start order."""
        order = from_lua(self._state.order).values()
        return [name for name in order if self._state.process[name].pid]

    @property
    def phase(self) -> str:
        """Return `running`, or the stage of the stop."""
        return str(self._state.phase)

    def wait(self) -> float:
        """Return the seconds until `step` wants to be called again."""
        return float(_step.wait(self._state, self.now))

    def fail(self, words: str) -> None:
        """Make the supervisor itself fail."""
        before = from_lua(self._state)
        given = self._state
        self._state = _step.fail(given, words, self.now)
        assert from_lua(given) == before, "fail changed the state it was given"


def of_kind(actions: Sequence[Action], kind: str) -> list[Action]:
    """Return the actions of one kind."""
    return [action for action in actions if action["kind"] == kind]


def starts(actions: Sequence[Action]) -> list[str]:
    """Return the names to start, in order."""
    return [action["name"] for action in of_kind(actions, "start")]


def signals(actions: Sequence[Action]) -> list[tuple[str, str]]:
    """Return names and signals, in order."""
    return [(action["name"], action["signal"]) for action in of_kind(actions, "signal")]


def words(actions: Sequence[Action]) -> list[tuple[str, str, str]]:
    """Return level, region and message of each log line."""
    return [(a["level"], a["region"], a["message"]) for a in of_kind(actions, "say")]
