"""A simulated world around the supervisor: processes, a kernel that refuses, a clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .deciding import Action, Decider

SLACK = 0.06
"""Seconds that a decision may be late: one look while stopping, and some."""
HARD_END = 0.5
FAIR_SECONDS = 10
LOST_SECONDS = 0.01
"""A signal that arrives sooner after the start than this, between fork and exec, is lost."""


@dataclass(frozen=True)
class Behaviour:
    """How one process behaves; a time of None means never."""

    listens: float | None = 0.3
    healthy: float | None = 0.1
    """Seconds from listening on."""
    dies: float | None = None
    sickens: float | None = None
    """Fails its health check from this age on."""
    obeys: float | None = 0.02
    """Seconds to its end from SIGTERM, SIGUSR1 (proxy) or the end of streams (log writer)."""
    unkillable: bool = False


GOOD = Behaviour()


@dataclass(frozen=True)
class Incident:
    """A single external event."""

    at: float
    kind: str
    """`kill`, `freeze`, `stop`, `error` or `refuse` (for `seconds`)."""
    name: str = ""
    seconds: float = 0.0


@dataclass
class Process:
    """A running process."""

    name: str
    born: float
    behaviour: Behaviour
    frozen: bool = False
    ends: float | None = None
    status: int = 0
    reasons: list[str] = field(default_factory=list)

    def end_at(self, moment: float, status: int, why: str) -> None:
        """Schedule its exit, unless it exits earlier."""
        self.reasons.append(why)
        if self.ends is None or moment < self.ends:
            self.ends, self.status = moment, status


class World:
    """Runs a decider as image/supervisor.lua does, and checks its invariants."""

    def __init__(
        self, decider: Decider, plans: dict[str, list[Behaviour]], incidents: list[Incident]
    ) -> None:
        self.decider = decider
        self.decider.check_every = 7
        self.begin = decider.now
        self.plans = {name: list(plan) for name, plan in plans.items()}
        self.incidents = sorted(incidents, key=lambda incident: incident.at)
        self.alive: dict[str, Process] = {}
        self.failures: dict[str, int] = {}
        self.good_since: dict[str, float] = {}
        self.refused_until = 0.0
        self.exits: list[Action] = []
        self.stop_began: float | None = None
        self.asked_to_stop = False
        self.seen: dict[str, bool] = {}
        self.killed_obedient: list[str] = []

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return self.decider.now - self.begin

    def take(self, kind: str, **event: Any) -> None:
        """Pass on an event and carry out the requested actions."""
        actions = self.decider.send(kind, **event)
        for name in self.alive:
            if self.decider.state_of(name) == "ready":
                self.good_since.setdefault(name, self.now)
        if self.decider.phase != "running" and self.stop_began is None:
            self.stop_began = self.now
        for action in actions:
            assert not self.exits, f"{action} after the exit"
            getattr(self, f"do_{action['kind']}")(action)

    def do_start(self, action: Action) -> None:
        """Start a process, unless the kernel refuses."""
        name = str(action["name"])
        assert name not in self.alive, f"two processes of {name}"
        if self.now < self.refused_until:
            self.take("refused", name=name, reason="no")
            return
        if self.decider.phase == "running":
            assert self.failures.get(name, 0) <= self.decider.settings["max_restarts"]
        plan = self.plans.get(name, [])
        behaviour = plan.pop(0) if plan else GOOD
        process = Process(name, self.now, behaviour)
        if behaviour.dies is not None:
            process.end_at(self.now + behaviour.dies, 1, "died")
        self.alive[name] = process
        self.decider.asked.clear()
        self.take("started", name=name, pid=100 + len(self.alive), wall=1.0)
        self.check_gate()

    def do_signal(self, action: Action) -> None:
        """Deliver a signal."""
        process, signal = self.alive.get(str(action["name"])), str(action["signal"])
        assert process, f"{action} for a process that was reaped"
        if self.now - process.born < LOST_SECONDS and signal != "SIGKILL":
            return
        if signal == "SIGCONT":
            process.frozen = False
        elif signal == "SIGKILL":
            self.kill(process)
        elif not process.frozen and process.behaviour.obeys is not None:
            assert process.reasons.count("SIGUSR1") == 0 or signal != "SIGUSR1"
            process.end_at(self.now + process.behaviour.obeys, 0, signal)

    def kill(self, process: Process) -> None:
        """SIGKILL."""
        told = "SIGTERM" in process.reasons and process.ends is not None
        if told and self.stop_began is not None:
            deadline = self.stop_began + self.decider.settings["stop_seconds"]
            if self.now < deadline:
                self.killed_obedient.append(process.name)
        if not process.behaviour.unkillable:
            process.end_at(self.now + 0.001, 137, "SIGKILL")

    def do_say(self, action: Action) -> None:
        """Check that every line has a level, a region and a message."""
        assert action["level"] in {"info", "warn", "error"} and action["message"]
        assert action["region"] == "-" or action["region"] in self.decider.names

    def do_close_streams(self, action: Action) -> None:
        """The log writer exits when it has read everything."""
        process = self.alive.get("log-writer")
        if process and process.behaviour.obeys is not None:
            process.end_at(self.now + process.behaviour.obeys, 0, "end of streams")

    def do_kill_strays(self, action: Action) -> None:
        """Check that no plugin and no proxy is left when strays are killed."""
        assert set(self.alive) <= {"log-writer"}

    def do_exit(self, action: Action) -> None:
        """Check that the exit happens once and in time."""
        assert self.stop_began is not None
        self.exits.append(action)
        limit = self.decider.settings["stop_seconds"] + HARD_END + SLACK
        assert self.now - self.stop_began <= limit, "the stop was late"
        stuck = any(process.behaviour.unkillable for process in self.alive.values())
        assert stuck or not self.alive, f"{list(self.alive)} at the exit"

    def check_gate(self) -> None:
        """Check that no more regions parse than allowed, except those that take too long."""
        limit = self.decider.settings["start_parallel"]
        if limit and self.decider.phase == "running":
            parsing = [
                name
                for name, process in self.alive.items()
                if name in self.decider.names
                and not self.listens(process)
                and self.now - process.born < FAIR_SECONDS
            ]
            assert len(parsing) <= limit, parsing

    def listens(self, process: Process) -> bool:
        """Return whether it accepts connections."""
        after = process.behaviour.listens
        return after is not None and self.now >= process.born + after

    def is_up(self, name: str) -> bool:
        """Return whether the proxy's check passes."""
        process = self.alive.get(name)
        if not process or process.frozen or not self.listens(process):
            return False
        behaviour = process.behaviour
        age = self.now - process.born - (behaviour.listens or 0)
        sick = behaviour.sickens is not None and age >= behaviour.sickens
        return behaviour.healthy is not None and age >= behaviour.healthy and not sick

    def loop_once(self) -> None:
        """Run one iteration of the supervisor's loop, including its sleep."""
        self.happen()
        self.reap()
        self.look()
        if not self.exits:
            self.take("tick")
        if not self.exits:
            self.decider.now += max(0.001, self.sleep())

    def sleep(self) -> float:
        """Sleep until the supervisor's next step or the exit of a process."""
        seconds = self.decider.wait()
        assert 0 <= seconds <= 0.25
        ends = [p.ends - self.now for p in self.alive.values() if p.ends is not None]
        return max(0.0, min([seconds, *ends]))

    def happen(self) -> None:
        """Apply the incidents that are due."""
        while self.incidents and self.incidents[0].at <= self.now and not self.exits:
            incident = self.incidents.pop(0)
            process = self.alive.get(incident.name)
            if incident.kind == "kill" and process:
                process.end_at(self.now, 137, "killed from outside")
            elif incident.kind == "freeze" and process:
                process.frozen = True
            elif incident.kind == "refuse":
                self.refused_until = self.now + incident.seconds
            elif incident.kind == "error":
                self.decider.fail("the supervisor failed")
                self.stop_began = self.now if self.stop_began is None else self.stop_began
            elif incident.kind == "stop":
                self.asked_to_stop = self.asked_to_stop or self.stop_began is None
                self.take("signal", signal="SIGTERM")

    def reap(self) -> None:
        """Report each process that has exited."""
        for name, process in list(self.alive.items()):
            if self.exits or process.ends is None or process.ends > self.now + 1e-9:
                continue
            if process.frozen and "SIGKILL" not in process.reasons:
                continue
            del self.alive[name]
            good = self.now - self.good_since.pop(name, self.now)
            stable = good >= self.decider.settings["stable_seconds"]
            self.failures[name] = 1 if stable else self.failures.get(name, 0) + 1
            self.take("exited", name=name, status=process.status)

    def look(self) -> None:
        """Report the state of regions and proxy."""
        for name in self.decider.names:
            process = self.alive.get(name)
            if (
                process
                and not self.exits
                and self.decider.state_of(name) == "starting"
                and not self.decider.listens(name)
                and self.listens(process)
            ):
                self.take("listening", name=name)
        up = {name: self.is_up(name) for name in self.decider.names}
        if up != self.seen and not self.exits and "proxy" in self.alive:
            self.seen = up
            self.take("health", up=up, check=dict.fromkeys(up, "L7OK"))
        for name in ("proxy", "log-writer"):
            process = self.alive.get(name)
            if process and process.frozen and not self.exits:
                self.take("frozen", name=name)

    def run(self, seconds: float) -> None:
        """Run until the exit, or for the given time."""
        end = self.now + seconds
        while not self.exits and self.now < end and not self.is_at_rest():
            self.loop_once()

    def is_at_rest(self) -> bool:
        """Return whether everything serves and no incident is pending."""
        return (
            not self.incidents
            and self.decider.phase == "running"
            and set(self.alive) >= {*self.decider.names, "proxy", "log-writer"}
            and all(process.behaviour == GOOD for process in self.alive.values())
            and self.all_ready()
        )

    def all_ready(self) -> bool:
        """Return whether every region serves."""
        return all(self.decider.state_of(name) == "ready" for name in self.decider.names)
