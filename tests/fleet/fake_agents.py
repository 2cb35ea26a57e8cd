"""Scripted agents on a clock that is moved: they talk to the real services as sessions do, without sockets.

`Fleet` holds them with a queue of what they will do; `run` moves the clock from one moment to the next and lets the
sweep and the driver of the server act in between. What the host itself would do, such as the guard's revert, is
part of the script.
"""

import heapq
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from rm.errors import Conflict
from rm.events import CancelRequested, Event, EventBus, JobQueued
from rm.services import fleet_updates, presence, tokens, updates
from rm.shared.protocol import CommandRollback, CommandUpdate, CommandUpdateCancel, Hello, UpdateProgress, UpdateResult
from rm.store.models import FleetUpdate, Host, HostCredential, Keyset, Release, UpdateAttempt

# rarer than in life, so that a quiet day costs little; three times as rare would be offline


class ServerDied(BaseException):
    """The server was killed; a host only notices that no answer comes, and connects again."""


HEARTBEAT = timedelta(seconds=60)
NO_ANSWER = object()
OLD_SHA256 = "0" * 64
NEW_SHA256 = "1" * 64
OLD_SEQ, NEW_SEQ = 1, 2
OLD_VERSION, NEW_VERSION = "1.4.0", "1.5.0"


@dataclass(frozen=True)
class Script:
    """How an agent takes an update; times in seconds. `ends` is what happens after the swap.

    good, late (hello at the target that late after the swap), never (no hello, and the old agent stays away),
    reverts (the old agent is back with a result after `hello_after`), unhealthy (reverts while it soaks),
    wrong_hash, flaps (its connection drops twice while it soaks), repeats (says hello twice and everything again).
    """

    ends: str = "good"
    before: float = 1.0
    hello_after: float = 3.0
    reason: str = "boots"
    is_deaf: bool = False
    busy_until: float = 0.0
    drops_in_download: bool = False
    away_seconds: float = 0.0
    is_refused: str = ""


@dataclass
class Agent:
    """One host; `sha256` is what it runs."""

    id: str
    name: str
    credential_hash: str
    script: Script
    sha256: str = OLD_SHA256
    connected_at: datetime | None = None
    swaps: list[str] = field(default_factory=list)
    attempt_id: str = ""
    epoch: int = 0
    journal: dict[str, str] | None = None
    unsent: UpdateResult | None = None
    waits_at_fence: str = ""
    has_dropped: bool = False
    previous: str = OLD_SHA256

    @property
    def is_connected(self) -> bool:
        return self.connected_at is not None


class Fleet:
    """The agents, their clock, and the server's two workers: `updates.sweep` and `fleet_updates.step`."""

    def __init__(self, bus: EventBus, now: datetime, scripts: Iterable[tuple[str, Script]]) -> None:
        self.now = now
        self.started_at = now
        self.agents: dict[str, Agent] = {}
        self._queue: list[tuple[datetime, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._called: set[str] = set()
        self._next_heartbeat = now + HEARTBEAT
        self.most_in_flight = 0
        self.swapped: Counter[str] = Counter()
        self.driver_seconds = 0.0
        self.driver_steps = 0
        self.looking_seconds = 0.0
        self.looks = 0
        self.is_dead = False
        self.use(bus)
        self._enrol(list(scripts))

    def use(self, bus: EventBus) -> None:
        """Talk to this bus from now on; the one before died with its server."""
        self.bus = bus
        bus.on_event(self._on_event)

    # ---- the clock ----

    def at(self, seconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.now + timedelta(seconds=seconds), next(self._order), what))

    def run(self, *, until: Callable[[], bool], most: timedelta = timedelta(days=4)) -> None:
        """Move the clock until something holds; fails when it does not come to hold within `most`."""
        self.work()
        while not until():
            assert self.now - self.started_at < most, "it did not come to an end"
            self.tick()

    def tick(self) -> None:
        """One moment: agents do what is due, then the server's workers run."""
        self.now = max(self.now + timedelta(seconds=1), self._next_moment())
        if self.now >= self._next_heartbeat:
            self._heartbeat()
        while self._queue and self._queue[0][0] <= self.now:
            heapq.heappop(self._queue)[2]()
            if self.is_dead:
                raise ServerDied
        self.work()

    def work(self) -> None:
        """What the scheduler does each second, and what sessions do when they are called."""
        updates.sweep(self.bus, now=self.now)
        began = time.process_time()
        while fleet_updates.step(self.bus, now=self.now):
            self.driver_steps += 1
            self.driver_seconds, began = self.driver_seconds + time.process_time() - began, time.process_time()
        self.looks += 1
        self.looking_seconds += time.process_time() - began
        self.most_in_flight = max(self.most_in_flight, self._count_in_flight())
        while self._called:
            self._take_orders(self.agents[self._called.pop()])
            if self.is_dead:
                raise ServerDied

    def _next_moment(self) -> datetime:
        moments = [self._next_heartbeat, self.now + HEARTBEAT]
        if self._queue:
            moments.append(self._queue[0][0])
        first = (
            UpdateAttempt.select(UpdateAttempt.deadline_at)
            .where(UpdateAttempt.state.in_(("queued", "dispatched", "running", "soaking", "deferred")))
            .order_by(UpdateAttempt.deadline_at)
            .scalar()
        )
        return min([*moments, first] if first else moments)

    def _heartbeat(self) -> None:
        self._next_heartbeat = self.now + HEARTBEAT
        there = [agent.id for agent in self.agents.values() if agent.is_connected]
        for at in range(0, len(there), 500):
            Host.update(last_seen_at=self.now).where(Host.id.in_(there[at : at + 500])).execute()

    def _count_in_flight(self) -> int:
        return UpdateAttempt.select().where(UpdateAttempt.state == "running", UpdateAttempt.phase != "draining").count()

    # ---- what a session does ----

    def _on_event(self, event: Event) -> None:
        if isinstance(event, JobQueued | CancelRequested) and event.host_id in self.agents:
            self._called.add(event.host_id)

    def _call(self, service: Callable[..., Any], **said: Any) -> Any:
        """What the server answers; NO_ANSWER when it is dead, or died over it."""
        if self.is_dead:
            return NO_ANSWER
        try:
            return service(self.bus, **said)
        except ServerDied:
            self.is_dead = True
            return NO_ANSWER

    def connect(self, agent: Agent, *, journal: dict[str, str] | None = None) -> None:
        agent.connected_at, agent.journal = self.now, journal
        is_new = agent.sha256 == NEW_SHA256
        hello = Hello(
            protocol_version=1, agent_version=NEW_VERSION if is_new else OLD_VERSION,
            agent_seq=NEW_SEQ if is_new else OLD_SEQ, running_sha256=agent.sha256, guard_version="2",
            restic_version="0.18.0", hostname=agent.name, os="linux", arch="amd64", init="systemd", update=journal,
        )  # fmt: skip
        self._call(
            presence.hello, host_id=agent.id, credential_hash=agent.credential_hash, hello=hello, address="192.0.2.9",
            now=self.now,
        )  # fmt: skip
        self._call(updates.said_hello, host_id=agent.id, hello=hello, now=self.now)
        self._called.add(agent.id)
        if agent.unsent is not None:
            self._send_result(agent)
        if agent.waits_at_fence:
            attempt_id, agent.waits_at_fence = agent.waits_at_fence, ""
            self.at(1, lambda: self._ask_to_swap(agent, attempt_id))

    def disconnect(self, agent: Agent) -> None:
        if agent.connected_at is not None:
            self._call(presence.gone, host_id=agent.id, connected_at=agent.connected_at, now=self.now)
            self._call(updates.connection_ended, host_id=agent.id, now=self.now)
            agent.connected_at = None

    def reconnect_all(self) -> None:
        """The server started anew: every socket is new."""
        for agent in self.agents.values():
            if agent.is_connected:
                self.connect(agent, journal=agent.journal)

    def _take_orders(self, agent: Agent) -> None:
        if not agent.is_connected:
            return
        orders = self._call(updates.orders_for, host_id=agent.id, now=self.now)
        for _, order in [] if orders is NO_ANSWER else orders:
            if agent.script.is_deaf:
                continue
            match order:
                case CommandUpdate():
                    self._begin(agent, order)
                case CommandRollback():
                    self._go_back(agent, order)
                case CommandUpdateCancel():
                    if agent.attempt_id == order.attempt_id and order.attempt_id not in agent.swaps:
                        agent.attempt_id = ""
                        self._say_result(agent, order.attempt_id, "cancelled", phase="cancelled")

    # ---- what an agent does ----

    def _begin(self, agent: Agent, order: CommandUpdate) -> None:
        script, attempt_id = agent.script, order.attempt_id
        if (attempt_id, order.epoch) == (agent.attempt_id, agent.epoch) or attempt_id in agent.swaps:
            return
        agent.attempt_id, agent.epoch = attempt_id, order.epoch
        if script.is_refused:
            self._say_result(agent, attempt_id, "refused", phase="preflight", reason=script.is_refused)
        elif self.now < self.started_at + timedelta(seconds=script.busy_until):
            self._drain(agent, attempt_id, until=self.now + timedelta(seconds=order.timers["drain_seconds"]))
        else:
            self._download(agent, attempt_id)

    def _drain(self, agent: Agent, attempt_id: str, *, until: datetime) -> None:
        if agent.attempt_id != attempt_id:
            return
        if self.now >= self.started_at + timedelta(seconds=agent.script.busy_until):
            self._download(agent, attempt_id)
        elif self.now >= until:
            agent.attempt_id = ""
            self._say_result(agent, attempt_id, "deferred", phase="draining", reason="busy")
        else:
            self._say(agent, attempt_id, "draining")
            self.at(60, lambda: self._drain(agent, attempt_id, until=until))

    def _download(self, agent: Agent, attempt_id: str) -> None:
        self._say(agent, attempt_id, "downloading")
        if agent.script.drops_in_download and not agent.has_dropped:
            agent.has_dropped = True
            agent.attempt_id = ""
            self.disconnect(agent)
            journal = {"attempt_id": attempt_id, "phase": "downloading"}
            self.at(agent.script.away_seconds, lambda: self.connect(agent, journal=journal))
            return
        self.at(agent.script.before, lambda: self._ask_to_swap(agent, attempt_id))

    def _ask_to_swap(self, agent: Agent, attempt_id: str) -> None:
        if agent.attempt_id != attempt_id or not agent.is_connected:
            return
        answer = self._say(agent, attempt_id, "swapping")
        if answer is NO_ANSWER:
            agent.waits_at_fence = attempt_id
            return
        if not answer:
            agent.attempt_id = ""
            self._say_result(agent, attempt_id, "cancelled", phase="cancelled")
            return
        agent.swaps.append(attempt_id)
        self.swapped[agent.id] += 1
        agent.previous, agent.sha256 = agent.sha256, NEW_SHA256
        self.disconnect(agent)
        self._after_swap(agent, attempt_id)

    def _after_swap(self, agent: Agent, attempt_id: str) -> None:
        script = agent.script
        match script.ends:
            case "never":
                return
            case "reverts":
                self.at(script.hello_after, lambda: self._come_back_old(agent, attempt_id, phase="trial"))
            case "wrong_hash":
                agent.sha256 = "2" * 64
                self.at(script.hello_after, lambda: self.connect_with(agent, sha256="2" * 64))
            case _:
                self.at(script.hello_after, lambda: self._come_back_new(agent, attempt_id))

    def connect_with(self, agent: Agent, *, sha256: str) -> None:
        """Say hello as the new version, with another hash."""
        agent.connected_at = self.now
        hello = Hello(
            protocol_version=1, agent_version=NEW_VERSION, agent_seq=NEW_SEQ, running_sha256=sha256,
            hostname=agent.name, os="linux", arch="amd64", guard_version="2",
        )  # fmt: skip
        self._call(
            presence.hello, host_id=agent.id, credential_hash=agent.credential_hash, hello=hello, address="192.0.2.9",
            now=self.now,
        )  # fmt: skip
        self._call(updates.said_hello, host_id=agent.id, hello=hello, now=self.now)

    def _come_back_old(self, agent: Agent, attempt_id: str, *, phase: str) -> None:
        agent.sha256 = agent.previous
        self.disconnect(agent)
        journal = {"attempt_id": attempt_id, "phase": phase, "outcome": "rolled_back", "reason": agent.script.reason}
        self.connect(agent, journal=journal)
        self._say_result(agent, attempt_id, "rolled_back", phase=phase, reason=agent.script.reason)

    def _come_back_new(self, agent: Agent, attempt_id: str) -> None:
        script = agent.script
        self.connect(agent, journal={"attempt_id": attempt_id, "phase": "trial"})
        if script.ends == "repeats":
            self.connect(agent, journal={"attempt_id": attempt_id, "phase": "trial"})
        if script.ends == "unhealthy":
            self.at(20, lambda: self._come_back_old(agent, attempt_id, phase="soaking"))
            return
        if script.ends == "flaps":
            for seconds in (10, 25):
                self.at(seconds, lambda: self.disconnect(agent))
                self.at(seconds + 3, lambda: self.connect(agent, journal={"attempt_id": attempt_id, "phase": "trial"}))
        self.at(60, lambda: self._commit(agent, attempt_id))
        if script.ends == "repeats":
            self.at(61, lambda: self._commit(agent, attempt_id))

    def _commit(self, agent: Agent, attempt_id: str) -> None:
        agent.attempt_id = ""
        self._say_result(agent, attempt_id, "committed", phase="soaking")

    def _go_back(self, agent: Agent, order: CommandRollback) -> None:
        if order.attempt_id in agent.swaps or agent.attempt_id == order.attempt_id:
            return
        agent.attempt_id = order.attempt_id
        if self._say(agent, order.attempt_id, "swapping") is not True:
            agent.attempt_id = ""
            return
        agent.swaps.append(order.attempt_id)
        agent.sha256 = order.to_sha256
        self.disconnect(agent)
        self.at(3, lambda: self._come_back_from_rollback(agent, order.attempt_id))

    def _come_back_from_rollback(self, agent: Agent, attempt_id: str) -> None:
        self.connect(agent, journal={"attempt_id": attempt_id, "phase": "trial"})
        self.at(5, lambda: self._commit(agent, attempt_id))

    def _say(self, agent: Agent, attempt_id: str, phase: str) -> Any:
        """Report a phase; whether the server takes it, or NO_ANSWER."""
        agent.journal = {"attempt_id": attempt_id, "phase": phase}
        if not agent.is_connected:
            return NO_ANSWER
        report = UpdateProgress(attempt_id=attempt_id, phase=phase)
        try:
            answer = self._call(updates.progress, host_id=agent.id, report=report, now=self.now)
        except Conflict:
            return False
        return NO_ANSWER if answer is NO_ANSWER else True

    def _say_result(self, agent: Agent, attempt_id: str, outcome: str, *, phase: str = "", reason: str = "") -> None:
        agent.unsent = UpdateResult(attempt_id=attempt_id, outcome=outcome, phase=phase, reason=reason)
        agent.journal = {"attempt_id": attempt_id, "phase": phase, "outcome": outcome, "reason": reason}
        self._send_result(agent)

    def _send_result(self, agent: Agent) -> None:
        """Repeated after each reconnect until it is answered."""
        if agent.is_connected and agent.unsent is not None:
            answer = self._call(updates.result, host_id=agent.id, report=agent.unsent, now=self.now)
            if answer is not NO_ANSWER:
                agent.unsent = agent.journal = None

    # ---- making them ----

    def _enrol(self, scripts: list[tuple[str, Script]]) -> None:
        hosts, credentials = [], []
        for name, script in scripts:
            agent = Agent(id=f"id-{name}", name=name, credential_hash=tokens.hashed(f"secret of {name}"), script=script)
            self.agents[agent.id] = agent
            hosts.append(
                {
                    "id": agent.id, "name": name, "hostname": name, "os": "linux", "arch": "amd64", "init": "systemd",
                    "agent_version": OLD_VERSION, "agent_seq": OLD_SEQ, "running_sha256": OLD_SHA256,
                    "guard_version": "2", "restic_version": "0.18.0", "enrolled_at": self.now,
                    "first_hello_at": self.now,
                }
            )  # fmt: skip
            credentials.append({
                "credential_hash": agent.credential_hash, "host": agent.id, "created_at": self.now,
                "first_used_at": self.now,
            })  # fmt: skip
        for at in range(0, len(hosts), 200):
            Host.insert_many(hosts[at : at + 200]).execute()
            HostCredential.insert_many(credentials[at : at + 200]).execute()

    def connect_all(self, *, but: Iterable[str] = ()) -> None:
        left_out = set(but)
        for agent in self.agents.values():
            if agent.name not in left_out:
                self.connect(agent)


def add_release(now: datetime, *, seq: int = NEW_SEQ, version: str = NEW_VERSION, sha256: str = NEW_SHA256) -> Release:
    """A current release in the database; what is signed is not looked at here."""
    Keyset.insert(version=1, bytes=b"{}", signature=b"", imported_at=now).on_conflict_ignore().execute()
    Release.update(is_current=False).execute()
    return Release.create(
        id=f"{seq:064x}", version=version, seq=seq, channel="stable", manifest=b"{}", signature=b"", keyset=1,
        key_id="release1", guard_min=2, released_at=now - timedelta(days=1), expires_at=now + timedelta(days=365),
        imported_at=now, imported_by="alice", promoted_at=now, is_current=True,
        artifacts=[{"os": "any", "arch": "any", "name": "rm-agent", "size": 1, "sha256": sha256}],
    )  # fmt: skip


def is_over(fleet_update_id: str) -> bool:
    """Whether the fleet update has ended or waits for a person."""
    return FleetUpdate.get_by_id(fleet_update_id).state not in ("running", "cancelling")
