"""The update card of a host and of an attempt's job page, and the chip of a host's row."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from rm.domain import health, permissions
from rm.domain.update_attempt import ENDED, FAILED_ENDS
from rm.domain.update_timing import ROLLBACK_WITHIN
from rm.domain.update_verdict import Verdict
from rm.store import jobs, releases, update_pages, updates
from rm.store.models import Host, UpdateAttempt, UpdateEvent
from rm.web import update_advice, update_words
from rm.web.update_advice import Fix
from rm.web.update_words import Label, Result, StateLine, Steps

EVENTS_SHOWN = 5
EVENTS_ON_JOB_PAGE = 200
SHOWN_AFTER_END = timedelta(days=7)
LOOKS = {
    "will_update": ("up", "Behind"), "offline": ("offline", "Behind and offline"), "ahead": ("info", "Ahead"),
    "pinned": ("skip", "Pinned by its owner"), "held": ("paused", "Held"), "no_artifact": ("warning", "No artifact"),
    "known_bad": ("warning", "Known bad"), "guard_too_old": ("warning", "Guard too old"),
}  # fmt: skip


@dataclass(frozen=True)
class Chip:
    """What a row says of its agent: the versions when it is behind or being updated, and a word."""

    old: str = ""
    new: str = ""
    word: str = ""


@dataclass(frozen=True)
class Event:
    """One line of the timeline."""

    at: datetime
    kind: str
    text: str


def chips(hosts: Iterable[Host]) -> dict[str, Chip]:
    """The chip of each of these hosts; behind is who has a lower sequence, whatever the version is called."""
    hosts = list(hosts)
    attempts = update_pages.open_attempts(host.id for host in hosts)
    release = releases.current()
    found = {}
    for host in hosts:
        attempt = attempts.get(host.id)
        if attempt is not None:
            found[host.id] = Chip(attempt.from_version or "unknown", attempt.to_version, _chip_word(attempt))
        elif release is not None and host.revoked_at is None and host.agent_seq < release.seq:
            found[host.id] = Chip(host.agent_version or "unknown", release.version, "behind")
        else:
            found[host.id] = Chip()
    return found


def _chip_word(attempt: UpdateAttempt) -> str:
    word = update_words.state(attempt)[1]
    return word[:1].lower() + word[1:]


@dataclass(frozen=True)
class Standing:
    """How a host stands to the current release while nothing moves."""

    kind: str
    word: str
    text: str
    command: str = ""


@dataclass(frozen=True)
class Card:
    """Everything that the update card says and offers to this role; `mark` tells several on one page apart."""

    host: Host
    title: str = "Agent update"
    look: str = ""
    is_shown: bool = False
    is_job_page: bool = False
    mark: str = ""
    attempt: UpdateAttempt | None = None
    ordered_by: str = ""
    old: str = ""
    new: str = ""
    steps: Steps | None = None
    line: StateLine | None = None
    result: Result | None = None
    labels: tuple[Label, ...] = ()
    fix: Fix | None = None
    standing: Standing | None = None
    events: tuple[Event, ...] = ()
    fleet_update_id: str = ""
    hint: str = ""
    may_update: bool = False
    may_cancel: bool = False
    may_roll_back: bool = False
    may_force: bool = False
    may_unhold: bool = False

    @property
    def kind(self) -> str:
        said = self.line or self.result
        return said.kind if said is not None else ""

    @property
    def word(self) -> str:
        said = self.line or self.result
        return said.word if said is not None else ""

    @property
    def has_foot(self) -> bool:
        offers = (self.may_update, self.may_cancel, self.may_roll_back, self.may_force, self.may_unhold)
        return any(offers) or bool(self.attempt and not self.is_job_page) or bool(self.hint or self.fleet_update_id)


def card(host: Host, *, role: str, base_url: str, now: datetime) -> Card:
    """The card of a host's page: the open attempt, or how the last one ended and what can be done."""
    release = releases.current()
    attempt = updates.open_for_host(host.id)
    if attempt is not None:
        return _moving(attempt, role=role, now=now, limit=EVENTS_SHOWN)
    verdict = updates.verdict(host, release, now=now)
    standing = _standing(verdict, base_url=base_url)
    last = updates.last_for_host(host.id)
    if last is not None and not _is_news(last, verdict, now):
        last = None
    is_committed = last is not None and last.state == "succeeded"
    may_order = permissions.is_allowed(role, "updates.run") and host.revoked_at is None
    offers = {
        "may_update": may_order and verdict.is_orderable,
        "may_roll_back": may_order and is_committed and _can_roll_back(host, now),
        "may_force": verdict.word == "known_bad" and permissions.is_allowed(role, "updates.force"),
        "may_unhold": verdict.word == "held" and permissions.is_allowed(role, "hosts.hold"),
    }
    if last is not None:
        found = _over(last, base_url=base_url, limit=EVENTS_SHOWN)
        return replace(found, standing=standing, hint=_hint(standing, offers), **offers)
    if standing is None:
        return Card(host)
    new = release.version if release is not None else ""
    title = "Agent update" if verdict.is_orderable else "Agent"
    return Card(
        host, title=title, look="live" if verdict.is_orderable else "", is_shown=True, old=host.agent_version, new=new,
        standing=standing, hint=_hint(standing, offers), **offers,
    )  # fmt: skip


def job_card(attempt: UpdateAttempt, *, role: str, base_url: str, now: datetime) -> Card:
    """The card of an attempt's own page."""
    if attempt.state not in ENDED:
        found = _moving(attempt, role=role, now=now, limit=EVENTS_ON_JOB_PAGE)
    else:
        found = _over(attempt, base_url=base_url, limit=EVENTS_ON_JOB_PAGE)
    return replace(found, is_job_page=True)


def _moving(attempt: UpdateAttempt, *, role: str, now: datetime, limit: int) -> Card:
    host = attempt.host
    online = health.is_online(is_connected=host.connected_at is not None, last_seen_at=host.last_seen_at, now=now)
    can_cancel = attempt.fenced_at is None and attempt.cancel_requested_at is None and attempt.state != "soaking"
    return replace(
        _common(attempt, limit), look="live", line=update_words.state_line(attempt, host, is_online=online),
        may_cancel=can_cancel and permissions.is_allowed(role, "jobs.cancel"),
    )  # fmt: skip


def _over(attempt: UpdateAttempt, *, base_url: str, limit: int) -> Card:
    looks = {"succeeded": "ok", "failed": "failed", "rolled_back": "warning", "refused": "warning", "lost": "warning"}
    has_failed = attempt.state in FAILED_ENDS and attempt.reason
    return replace(
        _common(attempt, limit), look=looks.get(attempt.state, ""),
        result=update_words.result(attempt, attempt.host),
        fix=update_advice.fix(attempt.reason, base_url=base_url, artifact_sha256=attempt.artifact_sha256)
        if has_failed else None,
    )  # fmt: skip


def _common(attempt: UpdateAttempt, limit: int) -> Card:
    job = jobs.find(attempt.job_id)
    return Card(
        attempt.host, title="Agent rollback" if attempt.is_rollback else "Agent update", is_shown=True, attempt=attempt,
        ordered_by=job.requested_by if job is not None else "", old=attempt.from_version, new=attempt.to_version,
        steps=update_words.steps(attempt), labels=tuple(update_words.labels(attempt)),
        events=timeline(attempt.job_id, limit=limit),
        fleet_update_id=attempt.fleet_update_id or "",
    )  # fmt: skip


def timeline(job_id: str, *, limit: int) -> tuple[Event, ...]:
    """What happened to an attempt, the newest first."""
    return tuple(_event(one) for one in reversed(updates.events(job_id)[-limit:]))


def class_words(failure_class: str) -> str:
    """What a failure counts against."""
    return update_words.CLASSES.get(failure_class, "")


def _event(event: UpdateEvent) -> Event:
    kinds = {
        "succeeded": "ok", "failed": "failed", "rolled_back": "warning", "refused": "warning", "lost": "failed",
        "cancelled": "skip", "deferred": "waiting", "queued": "queue",
    }  # fmt: skip
    return Event(event.at, kinds.get(event.state, "running"), event.text)


def _standing(verdict: Verdict, *, base_url: str) -> Standing | None:
    look = LOOKS.get(verdict.word)
    if look is None:
        return None
    commands = {"guard_too_old": update_advice.repair(base_url), "pinned": "sudo rm-agent unpin"}
    return Standing(*look, f"{verdict.reason} {verdict.help}".strip(), commands.get(verdict.word, ""))


def _is_news(attempt: UpdateAttempt, verdict: Verdict, now: datetime) -> bool:
    if attempt.state in ("failed", "rolled_back", "refused", "lost") and verdict.word not in ("current", "no_release"):
        return True
    return attempt.ended_at is not None and now - attempt.ended_at < SHOWN_AFTER_END


def _can_roll_back(host: Host, now: datetime) -> bool:
    last = updates.last_committed(host.id, since=now - ROLLBACK_WITHIN)
    return last is not None and not last.is_rollback and last.to_seq == host.agent_seq


def _hint(standing: Standing | None, offers: dict[str, bool]) -> str:
    if offers["may_update"]:
        return "The host checks the signature itself."
    if offers["may_roll_back"]:
        return "The previous agent is kept for 7 days."
    if standing is not None and not any(offers.values()) and standing.word in ("Behind", "Behind and offline"):
        return "Your role may look; an operator can update it."
    return ""
