"""A job's page: what it shows, and which parts of it change while the job runs."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from flask import Flask

from rm.domain import health, permissions
from rm.domain.jobs import ORDERABLE, to_read
from rm.events import Event, HostChanged, HostSeen, JobLogGrew, ListenerFellBehind
from rm.runtime import runtime
from rm.services import jobs as job_service
from rm.services import pruning
from rm.store import hosts, jobs, repositories, updates
from rm.store.models import Job
from rm.web import fragments, job_words, restore_words, update_view
from rm.web.fragments import Fragment

LINES_SHOWN = 1000
CANCEL_POINTS = {
    "backup": (
        "restic is asked to end and removes its lock.",
        "No snapshot is made; what was uploaded is kept and reused.",
    ),
    "prune": (
        "restic is asked to end and removes its lock.",
        "No snapshot is harmed; what was not freed yet is freed by the next prune.",
    ),
    "update": (
        "The host is told at once and stops at its next step; this server refuses it the swap from now on.",
        "Nothing was changed on it yet: it goes on with the agent that it runs.",
    ),
    "": ("restic is asked to end and removes its lock.",),
} | restore_words.CANCEL_POINTS


def values(job: Job, *, role: str, now: datetime, base_url: str) -> dict[str, Any]:
    """What the page shows of a job to this role, but for its log."""
    attempt = updates.find(job.id) if job.kind == "update" else None
    is_update = attempt is not None
    host = hosts.get(job.host_id)
    is_online = health.is_online(is_connected=host.connected_at is not None, last_seen_at=host.last_seen_at, now=now)
    is_open = job.state != "finished"
    ahead = _ahead(job) if job.state == "queued" else None
    hold = job_service.blocker_of(job, now=now)
    may_read = permissions.is_allowed(role, to_read(job.kind))
    return {
        "job": job,
        "card": update_view.job_card(attempt, role=role, base_url=base_url, now=now) if attempt is not None else None,
        "host": host,
        "repository": repositories.find(job.repository_id),
        "may_read": may_read,
        "progress": _progress(job, may_read) if job_words.has_figures(job) else None,
        "line": job_words.state_line(job, host, is_online=is_online, ahead=ahead, hold=hold, now=now)
        if is_open
        else None,
        "said": None if is_open else job_words.result(job, host, may_read=may_read),
        "readouts": job_words.readouts(job, jobs.samples(job.id)) if job.state != "queued" else [],
        "part": restore_words.part(job, host, may_read=may_read),
        "may_cancel": permissions.is_allowed(role, "jobs.cancel"),
        "may_run": permissions.is_allowed(role, "jobs.run"),
        "can_repeat": job.kind in ORDERABLE and host.revoked_at is None,
        "cancel_title": "Cancel this update" if is_update else "Cancel this job",
        "cancel_verb": "Cancel update" if is_update else "Cancel job",
        "cancel_points": CANCEL_POINTS.get(job.kind, CANCEL_POINTS[""]),
    }


def log_values(job: Job, now: datetime | None = None) -> dict[str, Any]:
    """The end of a job's log; `now` tells whether it may have been removed for its age."""
    lines = jobs.last_log_lines(job.id, limit=LINES_SHOWN)
    return {"job": job, "lines": lines, "is_cut": bool(lines) and lines[0].n > 1, "days": _days(job, now)}


def _days(job: Job, now: datetime | None) -> int:
    """For how many days logs are kept, of a job that is older than that; else 0."""
    if now is None or job.finished_at is None:
        return 0
    days = pruning.limits()["job_logs"]
    return days if job.finished_at < now - timedelta(days=days) else 0


def _progress(job: Job, may_read: bool) -> dict[str, Any]:
    return job.progress or {} if may_read else {**(job.progress or {}), "current_files": []}


def _ahead(job: Job) -> Job | None:
    earlier = [other for other in jobs.open_for_host(job.host_id) if other.id < job.id]
    return earlier[0] if earlier else None


class JobView:
    """One open job page; `after_n` is the last line of the log that the browser has."""

    _PARTS = (
        ("jobs/_head.html", "#job-head"),
        ("jobs/_state.html", "#job-state"),
        ("jobs/_progress.html", "#job-progress"),
        ("jobs/_restore.html", "#job-restore"),
        ("jobs/_command.html", "#job-command"),
    )

    _PARTS_OF_UPDATE = (
        ("jobs/_head.html", "#job-head"),
        ("updates/_card.html", "#update-card"),
    )

    def __init__(self, app: Flask, job_id: str, *, role: str, after_n: int) -> None:
        self._app = app
        self._base_url = runtime(app).settings.base_url
        self._job_id = job_id
        self._host_id = ""
        self._role = role
        self._may_read = permissions.is_allowed(role, to_read(jobs.get(job_id).kind))
        self.after_n = after_n
        self._appended = 0
        self.is_behind = False

    def everything(self, now: datetime) -> list[Fragment]:
        """The whole page as it is now; raises NotFound once the job is gone with its host."""
        return [*self._state(now), *self._log()]

    def changed(self, events: Iterable[Event], now: datetime) -> list[Fragment]:
        """What these events changed on the page."""
        mine = [event for event in events if self._is_mine(event)]
        if not mine:
            return []
        has_state = any(not isinstance(event, JobLogGrew) for event in mine)
        found = self._state(now) if has_state else []
        return [*found, *self._log()]

    def _is_mine(self, event: Event) -> bool:
        if isinstance(event, ListenerFellBehind):
            return True
        if isinstance(event, (HostChanged, HostSeen)):
            return event.host_id == self._host_id
        return getattr(event, "job_id", None) == self._job_id

    def _state(self, now: datetime) -> list[Fragment]:
        job = jobs.get(self._job_id)
        self._host_id = job.host_id
        found = values(job, role=self._role, now=now, base_url=self._base_url)
        parts = self._PARTS_OF_UPDATE if found["card"] is not None else self._PARTS
        return [fragments.render(self._app, template, found, target=target) for template, target in parts]

    def _log(self) -> list[Fragment]:
        if not self._may_read:
            return []
        lines = jobs.log_lines(self._job_id, after_n=self.after_n, limit=LINES_SHOWN + 1)
        if not lines:
            return []
        is_first = self.after_n == 0
        self._appended += len(lines)
        if is_first or self._appended > LINES_SHOWN:
            # a browser must not hold a long log whole: start anew with its end
            found = log_values(jobs.get(self._job_id))
            self.after_n = found["lines"][-1].n
            self._appended = 0
            return [
                fragments.render(self._app, "jobs/_log_lines.html", found, target="#job-log-lines", swap="outerHTML")
            ]
        self.after_n = lines[-1].n
        return [
            fragments.render(
                self._app, "jobs/_log_more.html", {"lines": lines}, target="#job-log-lines", swap="beforeend"
            )
        ]
