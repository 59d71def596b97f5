"""Random worlds: whatever processes do, the supervisor keeps its promises.

`World` checks: never two processes of one name, no more restarts than FINFOCUS_MAX_RESTARTS within
a stable window, no more parsing regions than allowed, exit once and in time, SIGUSR1 once, no
signal to a reaped process, nothing after the exit.
"""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from .deciding import Decider
from .small_world import GOOD, Behaviour, Incident, World

REGIONS = ("us-east-1", "eu-west-1", "sa-east-1")
EVERYTHING = (*REGIONS, "proxy", "log-writer")
LONG = 60.0

short = st.sampled_from([0.0, 0.005, 0.05, 0.3, 1.0, 2.5])
maybe_short = st.one_of(st.none(), short)
behaviours = st.builds(
    Behaviour,
    listens=st.one_of(st.none(), st.sampled_from([0.0, 0.01, 0.3, 1.0, 11.0])),
    healthy=maybe_short,
    dies=st.one_of(st.none(), st.none(), short),
    sickens=maybe_short,
    obeys=maybe_short,
    unkillable=st.sampled_from([False] * 9 + [True]),
)
plans = st.dictionaries(st.sampled_from(EVERYTHING), st.lists(behaviours, max_size=5))
moments = st.floats(0, 12, allow_nan=False)
incidents = st.lists(
    st.one_of(
        st.builds(
            Incident,
            at=moments,
            kind=st.sampled_from(["kill", "kill", "freeze"]),
            name=st.sampled_from(EVERYTHING),
        ),
        st.builds(Incident, at=moments, kind=st.just("refuse"), seconds=st.floats(0, 12)),
    ),
    max_size=6,
)
configurations = st.fixed_dictionaries(
    {
        "max_restarts": st.integers(0, 4),
        "stable_seconds": st.sampled_from([1, 5, 60]),
        "startup_seconds": st.sampled_from([1, 3, 15]),
        "unhealthy_seconds": st.integers(1, 3),
        "stop_seconds": st.sampled_from([0, 1, 4]),
        "start_parallel": st.integers(0, 3),
    }
)
many = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    # Shrinking a one-minute world takes longer than reading it.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def make(
    configuration: dict[str, float],
    plan: dict[str, list[Behaviour]],
    happening: list[Incident],
) -> World:
    return World(Decider(REGIONS, **configuration), plan, happening)


@many
@given(configurations, plans, incidents)
def test_fr_017_it_ends_up_ready_or_stopped(
    configuration: dict[str, float], plan: dict[str, list[Behaviour]], happening: list[Incident]
) -> None:
    """FR-017 (bounded restarts): after the incidents all regions serve, or all stopped with 1."""
    world = make(configuration, plan, happening)
    stuck = any(b.unkillable for behaviours in plan.values() for b in behaviours)
    world.run(LONG)
    if world.exits:
        assert world.exits[0]["code"] == 1
        assert world.exits[0]["words"]
    elif not stuck:
        sick = {name for name in REGIONS if world.alive[name].behaviour != GOOD}
        assert sick or world.all_ready()
        for name in sick:  # it runs, or its next start is pending
            assert world.decider.state_of(name) in {"starting", "ready", "backoff", "waiting"}
    world.asked_to_stop = True
    world.take("signal", signal="SIGTERM") if not world.exits else None
    world.run(configuration["stop_seconds"] + 1)
    assert len(world.exits) == 1


@many
@given(configurations, plans, incidents, moments, st.booleans())
def test_sc_003_a_stop_at_any_moment_ends_in_time(
    configuration: dict[str, float],
    plan: dict[str, list[Behaviour]],
    happening: list[Incident],
    moment: float,
    twice: bool,
) -> None:
    """SC-003 (exit 0 within 5 s): at any moment, code 0 within the deadline and 0.5 s."""
    stops = [Incident(moment, "stop")] + [Incident(moment + 0.1, "stop")] * twice
    world = make(configuration, plan, [*happening, *stops])
    world.run(LONG)
    assert len(world.exits) == 1
    assert world.exits[0]["code"] == (0 if world.asked_to_stop else 1)
    assert world.killed_obedient == []


@many
@given(configurations, plans, incidents, moments)
def test_an_error_at_any_moment_stops_all(
    configuration: dict[str, float],
    plan: dict[str, list[Behaviour]],
    happening: list[Incident],
    moment: float,
) -> None:
    """A failure of the supervisor ends in the same bounded stop, with code 1."""
    world = make(configuration, plan, [*happening, Incident(moment, "error")])
    world.run(LONG)
    assert [action["code"] for action in world.exits] == [1]
