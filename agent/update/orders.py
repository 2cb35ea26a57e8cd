"""Whether this host takes an order: what makes it say no before anything is fetched."""

import dataclasses
from datetime import timedelta

from agent.update.ending import Refused
from agent.update.journal import Attempt
from agent.update.kit import Kit
from agent.update.trust import SWAPS_AN_HOUR, Floor, Marks, Previous
from rm.shared import ids, instants
from rm.shared.protocol import CommandRollback, CommandUpdate


def floor_of(kit: Kit) -> Floor:
    """Below what this host does not go; raises ConfigurationError, or OSError when it cannot be written down."""
    release = kit.release
    return kit.floor_file.begin(seq=release.seq, sha256=release.sha256 or "", version=release.version)


def of_update(kit: Kit, order: CommandUpdate) -> Attempt:
    """The attempt that such an order asks for."""
    found = Attempt(
        attempt_id=order.attempt_id,
        epoch=order.epoch,
        order=dataclasses.asdict(order),
        to_sha256=order.artifact_sha256,
        to_version=order.version,
        to_seq=order.seq,
    )
    return _from_here(kit, found)


def of_rollback(kit: Kit, order: CommandRollback) -> Attempt:
    """The attempt to go back to the release before."""
    found = Attempt(
        attempt_id=order.attempt_id,
        kind="rollback",
        epoch=order.epoch,
        order=dataclasses.asdict(order),
        to_sha256=order.to_sha256,
    )
    return _from_here(kit, found)


def of_owner(previous: Previous, *, epoch: int, from_sha256: str) -> Attempt:
    """The attempt to go back that the host's owner begins on the host itself; no server is asked."""
    return Attempt(
        attempt_id=ids.new_ulid(),
        kind="rollback",
        epoch=epoch,
        order={"local": True},
        from_sha256=from_sha256,
        to_sha256=previous.sha256,
        to_version=previous.version,
        to_seq=previous.seq,
    )


def judge(kit: Kit, attempt: Attempt, *, is_settled: bool) -> Attempt:
    """The attempt as it is begun; raises Refused, ConfigurationError or OSError."""
    _judge_moment(kit, attempt, is_settled=is_settled)
    if attempt.kind == "rollback":
        return _judge_rollback(kit, attempt)
    return _judge_update(kit, attempt)


def _judge_moment(kit: Kit, attempt: Attempt, *, is_settled: bool) -> None:
    journal = kit.journal
    is_known = journal.outcome_of(attempt.attempt_id) is not None
    if attempt.epoch < journal.epoch or (attempt.epoch == journal.epoch and not is_known):
        text = f"An order with epoch {journal.epoch} was seen here already, this one has {attempt.epoch}."
        raise Refused("stale_order", text)
    if kit.clock.now() > instants.from_text(str(attempt.order["not_after"])):
        raise Refused("order_expired", f"The order ended at {attempt.order['not_after']}. Order it again.")
    if journal.attempt is not None or not is_settled:
        other = f"Attempt {journal.attempt.attempt_id}" if journal.attempt else "The attempt before"
        raise Refused("busy", f"{other} is not over yet. Order it again after it.")
    if kit.marks.has(Marks.PINNED):
        raise Refused("pinned", "This host's owner has pinned its agent. On the host: rm-agent unpin")
    if floor_of(kit).swaps_since(kit.clock.now() - timedelta(hours=1)) >= SWAPS_AN_HOUR:
        text = f"This agent was replaced {SWAPS_AN_HOUR} times within an hour. Order it again later."
        raise Refused("too_many_swaps", text)


def _judge_update(kit: Kit, attempt: Attempt) -> Attempt:
    floor, version, seq = floor_of(kit), attempt.to_version, attempt.to_seq
    if kit.files.is_bad(attempt.to_sha256) and not attempt.order.get("force"):
        text = (
            f"Release {version} was put back on this host before. On the host: rm-agent forget-bad"
            f" {attempt.to_sha256}, or force it with a reason."
        )
        raise Refused("known_bad", text)
    if seq == floor.seq and floor.sha256 not in ("", attempt.to_sha256):
        raise Refused("same_seq_other_hash", f"There are two artifacts of sequence {seq}.")
    is_below = seq < floor.seq
    if is_below and not kit.marks.clear(Marks.ALLOW_DOWNGRADE):
        text = (
            f"Release {version} ({seq}) is older than {floor.version} ({floor.seq}), which ran here."
            " On the host: rm-agent allow-downgrade"
        )
        raise Refused("below_floor", text)
    return dataclasses.replace(attempt, may_go_below=is_below)


def _judge_rollback(kit: Kit, attempt: Attempt) -> Attempt:
    floor = floor_of(kit)
    previous = floor.previous
    if previous is None or previous.sha256 != attempt.to_sha256:
        raise Refused("no_previous", "This host keeps no such release; one can go back once after an update.")
    if floor.previous_at(kit.clock.now()) is None:
        text = f"The release before was left at {previous.committed_at}; one can go back for 7 days."
        raise Refused("previous_too_old", text)
    return dataclasses.replace(attempt, to_version=previous.version, to_seq=previous.seq)


def _from_here(kit: Kit, attempt: Attempt) -> Attempt:
    release = kit.release
    return dataclasses.replace(
        attempt, from_sha256=release.sha256 or "", from_version=release.version, from_seq=release.seq
    )
