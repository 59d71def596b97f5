"""Move the tags of a release, also while another version is published."""

from collections.abc import Callable

from harness.core.console import say, step
from harness.oci import MediaType
from harness.publish.plan import Plan, RegionalPlan, TagPolicy, plan_moves
from harness.publish.record import Record
from harness.publish.tags import TagMove, TagPlan, moves_of_region, of_region
from harness.registry import RegistryClient
from harness.registry.client import MovedError
from harness.registry.transport import MayPassError

_ROUNDS = 5  # of planning the moving tags again


def move_tags(
    plan: Plan, client: RegistryClient, record: Record, policy: TagPolicy
) -> tuple[str, ...]:
    """Set each tag and read it back; the version's tag first, so that `latest` follows it.

    Each is preceded by the same tag of every region's image: who sees a version can pull its
    regions. The tags are planned again before the first move, before the moving tags, and after
    them: this version or a newer one may have been published since the last plan. A moving tag that
    should have gone to a newer version is handed over to it. Every publisher sets its version's tag
    before `latest`, so the last one to set `latest` sees all others.
    """

    def again() -> TagPlan:
        return plan_moves(plan.version, plan.index.digest, client, policy)

    _move(plan, again(), {plan.tag}, client, record, None)
    moved: set[str] = set()
    for _ in range(_ROUNDS):
        tags = again()
        lost = {tag: owner for tag, owner in tags.owners if tag in moved}
        open_ones = {move.tag for move in tags.moves[1:]} - moved
        if not lost and not open_ones:
            break
        if open_ones:
            _move(plan, tags, open_ones, client, record, lambda tag: tag in dict(again().owners))
        for tag, owner in lost.items():
            for made in plan.regional:
                _hand_over(of_region(tag, made.region), of_region(owner, made.region), client)
            _hand_over(tag, owner, client)
            say(f"  tag {tag} → {owner}, which was published meanwhile")
        moved = (moved | open_ones) - set(lost)
    for tag, why in tags.stays:
        say(f"  tag {tag} unchanged: {why}")
    return tuple(move.tag for move in tags.moves)


def _move(  # noqa: PLR0917
    plan: Plan,
    tags: TagPlan,
    chosen: set[str],
    client: RegistryClient,
    record: Record,
    taken: Callable[[str], bool] | None,
) -> None:
    """Set the `chosen` tags of `tags`; first check the tags of all regions.

    A tag that another publisher sets meanwhile is set again, unless it is `taken`: a newer version
    owns it. Without `taken`, for the version's tag, that is an error.
    """
    moves = [move for move in tags.moves if move.tag in chosen]
    regional = [
        (made, moves_of_region(made.region, moves, plan.tag, made.index.digest, client.tag_digest))
        for made in plan.regional
    ]
    if regional:
        with step("tagging the images of single regions"):
            for made, of_made in regional:
                for whole, move in zip(moves, of_made, strict=True):
                    _set(made, move, whole.tag, client, taken)
    for move in moves:
        _set(plan, move, move.tag, client, taken)
        record.done(f"tag {move.tag}", plan.index.digest)
        say(f"  {plan.repository.at(move.tag)} → {plan.index.digest}")


def _set(
    made: Plan | RegionalPlan,
    move: TagMove,
    tag: str,
    client: RegistryClient,
    taken: Callable[[str], bool] | None,
) -> None:
    for left in reversed(range(_ROUNDS)):
        client.push_manifest(made.index_data, MediaType.INDEX, move.tag)
        try:
            client.settle(move.tag, made.index.digest, before=move.before)
        except MovedError:
            if taken is None or not left:
                raise
            if not taken(tag):
                continue
        return


def _hand_over(tag: str, owner: str, client: RegistryClient) -> None:
    """Set `tag`, which this run has set, to what `owner`, a tag of a newer release, names."""
    for attempt in client.transport.retrying():
        with attempt:
            data = client.manifest(owner)
            if data is None:
                raise MayPassError(f"{client.repository.at(owner)} is listed, but not there")
            client.push_manifest(data, MediaType.INDEX, tag)
