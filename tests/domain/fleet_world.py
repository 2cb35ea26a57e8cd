"""A fleet update in memory: applies what the step says, and lets hosts do what hosts do."""

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta

from rm.domain import fleet_update
from rm.domain.fleet_options import Options
from rm.domain.fleet_state import Attempt as FleetAttempt
from rm.domain.fleet_state import (
    CloseAttempt,
    Finish,
    Fleet,
    Member,
    Order,
    OrderBack,
    Recall,
    Retry,
    Settle,
    Stop,
)
from tests.cast import NOW

TO_SEQ = 7
UNFENCED = ("queued", "dispatched", "running")


def member(name: str, position: int = 0, **changed) -> Member:
    """A host that waits for its turn in wave 1."""
    found = Member(
        host_id=name, name=name, position=position, wave=1, state="waiting", changed_at=NOW - timedelta(hours=1),
        is_online=True, agent_seq=1, last_seen_at=NOW,
    )  # fmt: skip
    return replace(found, **changed)


def fleet(*members: Member, state: str = "running", options: Options | None = None, **changed) -> Fleet:
    return Fleet(state=state, to_seq=TO_SEQ, options=options or Options(), members=members, **changed)


class World:
    """Applies actions as the service does, and counts what they did."""

    def __init__(self, options: Options, members: list[Member]) -> None:
        self.fleet = Fleet(state="running", to_seq=TO_SEQ, options=options, members=tuple(members))
        self.now: datetime = NOW
        self.events: list[tuple[str, str]] = []
        self.orders: list[tuple[str, str]] = []
        self.swaps: Counter[str] = Counter()
        self.dispatched_while: list[str] = []
        self._next_attempt = 0

    def member(self, host_id: str) -> Member:
        return next(one for one in self.fleet.members if one.host_id == host_id)

    def change(self, host_id: str, **changed) -> None:
        members = tuple(replace(one, **changed) if one.host_id == host_id else one for one in self.fleet.members)
        self.fleet = replace(self.fleet, members=members)

    def move(self, host_id: str, state: str) -> None:
        self.events.append((host_id, state))
        self.change(host_id, state=state, changed_at=self.now)

    def attempt(self, host_id: str, **changed) -> None:
        self.change(host_id, attempt=replace(self.member(host_id).attempt, **changed))

    def step(self, *, most: int = 10**6) -> list:
        """Apply the first `most` actions of one step, as a server that dies would."""
        actions = fleet_update.step(self.fleet, self.now)
        for action in actions[:most]:
            self.apply(action)
        return actions

    def settle(self) -> None:
        """Step until there is nothing more to do."""
        for _ in range(200):
            if not self.step():
                return
        raise AssertionError("it never comes to rest")

    def apply(self, action) -> None:
        match action:
            case Settle():
                assert self.member(action.host_id).state == action.before
                self.move(action.host_id, action.after)
                if action.stop:
                    self.apply(action.stop)
            case Stop():
                self.fleet = replace(self.fleet, state=action.to, is_rolling_back=False)
                if action.closes_unfenced:
                    for one in self.fleet.members:
                        if one.attempt and one.attempt.state in UNFENCED and not one.attempt.is_fenced:
                            self.attempt(one.host_id, is_cancel_requested=True)
            case Order():
                self.dispatched_while.append(self.fleet.state)
                self._order(action.host_id, is_rollback=False)
            case OrderBack():
                self._order(action.host_id, is_rollback=True)
            case Recall():
                self.change(action.host_id, attempt=None)
                self.move(action.host_id, action.after)
            case Retry():
                self.dispatched_while.append(self.fleet.state)
                self.attempt(action.host_id, state="queued", retry_at=None)
                self.move(action.host_id, "updating")
            case CloseAttempt():
                self.attempt(action.host_id, is_cancel_requested=True)
            case Finish():
                for one in self.fleet.members:
                    if one.state in fleet_update.UNFINISHED:
                        self.move(one.host_id, "skipped")
                self.fleet = replace(self.fleet, state=action.state)
            case _:
                raise AssertionError(action)

    def _order(self, host_id: str, *, is_rollback: bool) -> None:
        self._next_attempt += 1
        attempt_id = f"attempt-{self._next_attempt}"
        self.orders.append((host_id, attempt_id))
        self.change(host_id, attempt=FleetAttempt(id=attempt_id, state="queued", is_rollback=is_rollback))
        self.move(host_id, "updating")
