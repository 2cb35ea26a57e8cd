"""A fleet update as it is at one moment: what its page says of the whole, of each host, and of what happened."""

import time
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from flask import Flask

from rm.domain import fleet_explain, health, permissions
from rm.domain.fleet_state import OPEN_STATES, Fleet
from rm.events import Event, EventBus, FleetUpdateChanged, HostChanged, HostRemoved, UpdateChanged
from rm.runtime import runtime
from rm.services import fleet_updates as service
from rm.shared.words import counted
from rm.store import fleet_updates, hosts, jobs, update_pages, updates
from rm.store.models import FleetUpdate, FleetUpdateEvent, FleetUpdateHost, Host, JobLogLine, UpdateAttempt
from rm.web import fleet_update_questions, fleet_update_words, fragments, update_advice, update_view
from rm.web.fleet_update_words import GROUPS, HostLine
from rm.web.fragments import Fragment
from rm.web.update_advice import Fix
from rm.web.update_words import StateLine

PAGE_SIZE = 50
EVENTS_SHOWN = 25
IN_FLIGHT_SHOWN = 3
LOG_LINES_SHOWN = 8


@dataclass(frozen=True)
class Query:
    """Which hosts of which fleet update a tab shows."""

    fleet_update_id: str
    group: str = ""
    q: str = ""
    page: int = 1

    @property
    def path(self) -> str:
        return f"/settings/fleet-update/{self.fleet_update_id}"

    def url(self, path: str = "", **changes: Any) -> str:
        """The address of this list with some of it changed."""
        values = {"show": self.group, "q": self.q, "page": self.page} | changes
        kept = {key: value for key, value in values.items() if value and (key, value) != ("page", 1)}
        return f"{path or self.path}?{urlencode(kept)}" if kept else path or self.path


@dataclass(frozen=True)
class Group:
    """Rows with what they have in common."""

    key: str
    word: str
    rows: list[Fragment]


@dataclass(frozen=True)
class TimelineEvent:
    """One line of the timeline."""

    at: datetime
    kind: str
    text: str
    small: str = ""


@dataclass(frozen=True)
class Why:
    """What a halted fleet update halted at."""

    reason: str
    line: HostLine | None = None
    attempt: UpdateAttempt | None = None
    class_words: str = ""
    events: tuple[update_view.Event, ...] = ()
    lines: tuple[JobLogLine, ...] = ()
    fix: Fix | None = None


class Fleets:
    """Fleet updates with all their hosts, read once for all tabs until something happens; never older than 5 s."""

    MOST_SECONDS = 5.0
    CONCERNED = (FleetUpdateChanged, UpdateChanged, HostChanged, HostRemoved)

    def __init__(self, bus: EventBus) -> None:
        self._changes = 0
        self._kept: dict[str, tuple[int, float, Fleet]] = {}
        bus.on_event(self._note)

    def _note(self, event: Event) -> None:
        if isinstance(event, self.CONCERNED):
            self._changes += 1

    def get(self, update: FleetUpdate, now: datetime) -> Fleet:
        """The fleet update as the rules see it."""
        changes, at = self._changes, time.monotonic()
        kept = self._kept.get(update.id)
        if kept is not None and kept[0] == changes and at - kept[1] < self.MOST_SECONDS:
            return kept[2]
        found = service.load(update, now=now)
        self._kept = {update.id: (changes, at, found)}
        return found


class Reading:
    """A fleet update as it is at one moment, read once for all parts of a page."""

    def __init__(self, app: Flask, query: Query, *, role: str, now: datetime, fleets: Fleets | None = None) -> None:
        self._app = app
        self.query = query
        self._said: dict[Hashable, str] = {}
        self.now = now
        self.update = fleet_updates.get(query.fleet_update_id)
        self.fleet = fleets.get(self.update, now) if fleets else service.load(self.update, now=now)
        self._members = {member.host_id: member for member in self.fleet.members}
        self.counts = fleet_updates.counts(self.update.id)
        self.may_act = permissions.is_allowed(role, "fleet_updates.manage")
        self._wave_numbers = {member.wave for member in self.fleet.members}

    def summary(self) -> dict[str, Any]:
        """Everything above the table of hosts, and the events."""
        moving = self._moving()
        waves, hosts_a_tick = fleet_update_words.waves(update_pages.wave_counts(self.update.id))
        halted = hosts.find(self.update.halted_host_id) if self.update.halted_host_id else None
        names = [line.host.name for line in moving]
        return {
            "update": self.update,
            "path": self.query.path,
            "said": fleet_update_words.sentence(self.update, self.counts, names=names, halted=self._halted_at(halted)),
            "line": self._state_line(moving),
            "counted": fleet_update_words.counted_words(self.counts),
            "waves": waves,
            "hosts_a_tick": hosts_a_tick,
            "in_flight": moving[:IN_FLIGHT_SHOWN],
            "why": self._why() if self.update.state == "halted" else None,
            "decisions": fleet_update_questions.decisions(self.update, self.counts, self.fleet, halted),
            "actions": fleet_update_questions.actions(self.update, self.counts, self.fleet) if self.may_act else [],
            "may_act": self.may_act,
            "filters": self._filters(),
            "events": [event(one) for one in update_pages.list_events(self.update.id, limit=EVENTS_SHOWN)],
            "event_count": update_pages.count_events(self.update.id),
            "is_open": self.update.state in OPEN_STATES,
        }

    def table(self) -> tuple[list[FleetUpdateHost], int]:
        """The rows on this page of the list, and how many there are in all."""
        return update_pages.list_hosts(
            self.update.id, group=self.query.group, q=self.query.q, limit=PAGE_SIZE,
            offset=(self.query.page - 1) * PAGE_SIZE,
        )  # fmt: skip

    def row_fragments(self, rows: Iterable[FleetUpdateHost]) -> list[Fragment]:
        """The table's rows of these hosts."""
        return [
            fragments.render(
                self._app, "fleet_updates/_row.html",
                {"line": line, "skip": f"{self.query.path}/skip?host={line.host.id}" if self._can_skip(line) else ""},
                target=f"#update-host-{line.host.id}",
            )
            for line in self.lines(rows)
        ]  # fmt: skip

    def lines(self, rows: Iterable[FleetUpdateHost]) -> list[HostLine]:
        """What to say of these hosts."""
        rows = list(rows)
        attempts = update_pages.attempts_of(rows)
        return [
            fleet_update_words.host_line(
                row, attempts.get(row.attempt_id or ""), to_version=self.update.to_version, waves=self._wave_numbers,
                is_online=health.is_online(
                    is_connected=row.host.connected_at is not None, last_seen_at=row.host.last_seen_at, now=self.now
                ),
                explained=self._explained(row),
            )
            for row in rows
        ]  # fmt: skip

    def _halted_at(self, halted: Host | None) -> Host | None:
        failed = {member.host_id for member in self.fleet.members if member.state == "failed"}
        return halted if halted is not None and halted.id in failed else None

    def _explained(self, row: FleetUpdateHost) -> str:
        member = self._members.get(row.host_id)
        if member is None:
            return ""
        # what is said of one waiting host is said of its neighbours, but for the name: the rules look at all hosts
        alike = replace(member, host_id="", name="", position=0, changed_at=self.now)
        alike = replace(alike, last_seen_at=None) if member.is_online else alike
        if alike not in self._said:
            # why it all stopped stands once on top of the page, not in each row
            text = fleet_explain.explain(self.fleet, row.host_id, to_version=self.update.to_version)
            self._said[alike] = text.removeprefix(member.name)
        return member.name + self._said[alike]

    def _can_skip(self, line: HostLine) -> bool:
        return self.may_act and self.update.state in ("running", "paused", "halted") and line.may_be_skipped

    def _moving(self) -> list[HostLine]:
        ids = [member.host_id for member in self.fleet.members if member.state in ("updating", "soaking")]
        return self.lines(update_pages.rows_of(self.update.id, ids[:100]))

    def _state_line(self, moving: list[HostLine]) -> StateLine | None:
        update = self.update
        if update.state not in OPEN_STATES:
            return None
        kind, word = fleet_update_words.STATES[update.state]
        if update.state == "running" and len(moving) == 1:
            word = f"{moving[0].host.name}: {moving[0].word}"
        deadlines = [line.deadline for line in moving if line.deadline is not None]
        waits = "it waits for you" if update.state in ("paused", "halted") else ""
        since = moving[0].since if update.state == "running" and len(moving) == 1 else self._since()
        return StateLine(
            kind, word, since, min(deadlines, default=None), waits,
            fleet_explain.next_sentence(self.fleet, self.now), fleet_update_words.policy_sentence(update), "",
        )  # fmt: skip

    def _since(self) -> datetime:
        found = update_pages.last_event(self.update.id, f"fleet.{self.update.state}")
        return found.at if found is not None else self.update.started_at or self.update.created_at

    def _why(self) -> Why:
        update = self.update
        row = next(iter(update_pages.rows_of(update.id, [update.halted_host_id or ""])), None)
        if row is None:
            return Why(update.reason or "No reason was kept.")
        # the host stands beside it already
        reason = update.reason.removeprefix(f"{row.host.name}: ")
        attempt = updates.find(row.attempt_id) if row.attempt_id else None
        line = self.lines([row])[0]
        if attempt is None:
            return Why(reason, line)
        return Why(
            reason or attempt.message, line, attempt,
            update_view.class_words(attempt.failure_class),
            update_view.timeline(attempt.job_id, limit=6),
            tuple(jobs.last_log_lines(attempt.job_id, limit=LOG_LINES_SHOWN)),
            update_advice.fix(
                attempt.reason, base_url=runtime(self._app).settings.base_url, artifact_sha256=attempt.artifact_sha256
            ),
        )  # fmt: skip

    def _filters(self) -> list[dict[str, Any]]:
        total = sum(self.counts.values())
        found = [{"label": "All", "count": total, "href": self.query.url(show="", page=1),
                  "is_current": not self.query.group}]  # fmt: skip
        for key, states in update_pages.GROUPS.items():
            count = sum(self.counts.get(state, 0) for state in states)
            is_current = self.query.group == key
            # a filter that would leave all or nothing is no choice
            if 0 < count < total or is_current:
                href = self.query.url(show="" if is_current else key, page=1)
                found.append({"label": GROUPS[key], "count": count, "href": href, "is_current": is_current})
        return found

    def groups(self, rows: list[FleetUpdateHost]) -> list[Group]:
        """The rows under their headings."""
        found: list[Group] = []
        for row, fragment in zip(rows, self.row_fragments(rows), strict=True):
            key = group_of(row.state)
            if not found or found[-1].key != key:
                found.append(Group(key, GROUPS[key], []))
            found[-1].rows.append(fragment)
        return found

    def pager(self, total: int) -> dict[str, str]:
        """The line under the table."""
        page = self.query.page
        first, last = (page - 1) * PAGE_SIZE + 1, min(page * PAGE_SIZE, total)
        said = f"{counted(total, 'host')}, those in progress first"
        if total > PAGE_SIZE:
            said = f"{first:,} to {last:,} of {said}"
        return {
            "said": said,
            "previous": self.query.url(page=page - 1) if page > 1 else "",
            "previous_word": "Previous",
            "next": self.query.url(page=page + 1) if last < total else "",
            "next_word": "Next",
        }


def group_of(state: str) -> str:
    """The heading under which a host in this state stands."""
    return next(key for key, states in update_pages.GROUPS.items() if state in states)


def event(found: FleetUpdateEvent) -> TimelineEvent:
    """A line of history as the timeline shows it."""
    small = "" if found.actor in ("", "server") or found.actor in found.text else f"by {found.actor}"
    return TimelineEvent(found.at, EVENT_LOOKS.get(found.kind, "user" if small else "info"), found.text, small)


EVENT_LOOKS = {
    "host.succeeded": "ok", "host.failed": "failed", "host.updating": "running", "host.soaking": "running",
    "host.passed_over": "waiting", "host.skipped": "skip", "host.excluded": "skip", "host.waiting": "queue",
    "fleet.running": "play", "fleet.paused": "pause", "fleet.halted": "failed", "fleet.cancelling": "stop",
    "fleet.cancelled": "skip", "fleet.completed": "ok", "fleet.completed_with_exceptions": "warning",
    "fleet.planned": "info", "plan.changed": "info",
}  # fmt: skip
