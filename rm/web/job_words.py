"""What to say of a job: its state line, its result, what to do about it, and its figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rm.domain import dispatch
from rm.domain.jobs import SILENCE_UNTIL_LOST
from rm.shared.words import counted
from rm.store.models import Host, Job
from rm.web import drawings, filters, restore_words

ADVICE = {
    "no_repository": "There is no repository at that place yet. Create it on the host's page, or correct the location.",
    "wrong_password": "The repository does not open with the stored password. Set the right one on the host's page.",
    "pre_hook_failed": "The log shows what the hook printed. Without it there is no backup.",
    "post_hook_failed": "The log shows what the hook printed.",
    "time_box": "It is done again when it is next due. A longer time box is set in the plan.",
    "locked": "Another restic works on this repository, or one was killed and left its lock. "
    "Try again when it is done; “Remove stale locks” on the repository's page removes one whose owner is gone.",
    "unreachable": "The host cannot reach the repository. "
    "Check the location, the network between them and the credentials, then use Test.",
    "restic_missing": "Install restic on the host, for example with apt install restic. The agent finds it by itself.",
    "restic_killed": "Something on the host ended restic, often a lack of memory. The system log there says more.",
    "restic_garbled": "restic wrote what the agent cannot read; the log shows it. A newer restic or agent may help.",
    "restic_failed": "The last lines of the log say what restic did not like.",
    "not_writable": "The agent may write only where its unit allows. "
    "On the host: curl … install.sh | sudo sh -s -- --writable DIRECTORY, as Install the agent in the docs shows.",
    "source_missing": "A path of the source group is not on the host. Correct the group or bring the path back.",
    "some_files_unreadable": "The log names the files. Everything else is in the snapshot.",
    "interrupted": "The host or its agent was restarted meanwhile. Run it again; what was uploaded is reused.",
    "disk_full": "A disk on the host is full. Free space there, then run it again.",
    "not_configured": "The host did not have this repository's settings yet. Run it again once it is connected.",
    "unknown_to_agent": "The agent does not know this job any more; its state may have been wiped. Run it again.",
    "secrets_corrupt": "The agent's secrets file is damaged and was left as it is. Save the repository again.",
    "append_only": "Its maintenance credential, on the repository's page, is the one that prune uses. "
    "A rest-server is append-only as a whole: deleting takes a second one without --append-only on the same data.",
    "repository_damaged": "Do not prune it. Copy it first, then follow the advice of restic in the log.",
    "repository_changed": "Look at the repository's page: is the right disk mounted, is the location right?",
    "expired": "It can be ordered again at any time; it starts when the host is connected.",
    "silent": "If the host comes back and reports how it ended, this result is corrected.",
}  # fmt: skip


@dataclass(frozen=True)
class StateLine:
    """State, since, deadline and what happens next, for a job that has not ended."""

    since: datetime
    deadline: datetime | None
    next: str
    detail: str = ""
    blocker: Job | None = None


@dataclass(frozen=True)
class Result:
    """How a job ended: a sentence, what to do, and where."""

    text: str
    more: str = ""
    link: dict[str, str] | None = None


@dataclass(frozen=True)
class Readout:
    """One instrument of the job page."""

    label: str
    value: str
    unit: str = ""
    note: str = ""
    spark: Sequence[float] = ()
    spark_label: str = ""


def state_line(
    job: Job, host: Host, *, is_online: bool, ahead: Job | None, now: datetime,
    hold: tuple[dispatch.Hold, Job] | None = None,
) -> StateLine:  # fmt: skip
    """What to say of a job that is queued or running.

    `ahead` is the open job of the same host before it, `hold` why the queue holds it back and for which other one.
    """
    name = host.name
    if job.cancel_requested_at is not None:
        following = "restic ends, removes its lock, and the host reports it."
        if not is_online:
            following = f"{name} is told as soon as it connects."
        return StateLine(job.cancel_requested_at, None, following, f"Asked by {job.cancel_requested_by}.")
    if job.state == "queued":
        return _queued(job, name, is_online=is_online, ahead=ahead, hold=hold)
    since = job.started_at or job.created_at
    if not is_online:
        given_up = (job.last_sign_at or since) + SILENCE_UNTIL_LOST
        return StateLine(
            since, given_up, f"The connection to {name} is lost; the job goes on there without it.",
            "Its result arrives when the host is back. Without any sign until the deadline it counts as lost.",
        )  # fmt: skip
    phase = _phase(job)
    if phase is not None:
        return StateLine(since, None, *phase)
    left = (job.progress or {}).get("seconds_left")
    if isinstance(left, (int, float)) and left >= 1:
        finish = f"Finishes in about {filters.duration(left)}"
    else:
        finish = "restic works until it is done"
    following = restore_words.following(job, finish) or {
        "backup": f"{finish}, then the snapshots are listed.",
        "init": "The repository is created; then backups can run.",
        "snapshots": "The list appears on the host's page.",
        "check": f"{finish}, then says whether there were errors. Other jobs in this repository wait meanwhile.",
        "prune": f"{finish}. Other jobs in this repository wait meanwhile.",
        "update": "The host goes on with its update.",
        "unlock": "Locks whose owner is gone are removed; those of living ones stay.",
    }.get(job.kind, f"{finish}.")
    detail = "If it is cancelled now, uploaded data is kept and reused." if job.kind == "backup" else ""
    return StateLine(since, None, following, detail)


def _phase(job: Job) -> tuple[str, str] | None:
    """What a running job does while restic does not work for it, and what comes then."""
    progress = job.progress or {}
    if progress.get("phase") == "waiting":
        what = progress.get("waits_for") or "the locks of other jobs"
        return f"Waits for {what}.", "Nothing of it was started yet. It goes on by itself once the way is free."
    return {
        "pre_hook": ("The hook before the backup runs; then restic starts.", "If it fails, there is no backup."),
        "post_hook": ("The hook after the backup runs; restic is done.", ""),
    }.get(progress.get("phase", ""))


_HOLD_DETAILS = {
    dispatch.HOST_BUSY: "One job at a time per host.",
    dispatch.REPOSITORY_BUSY: "A check or a prune must be alone in its repository.",
    dispatch.BACKUPS_FIRST: "Backups go first; after an hour of waiting it has the next turn.",
    dispatch.ITS_TURN: "That one has waited for more than an hour, or came first.",
}


def _queued(
    job: Job, name: str, *, is_online: bool, ahead: Job | None, hold: tuple[dispatch.Hold, Job] | None
) -> StateLine:
    if not is_online:
        return StateLine(
            job.created_at, job.expires_at, f"Starts as soon as {name} connects.",
            "It is not connected now. Nothing runs if it does not come back before the deadline.",
        )  # fmt: skip
    if hold is not None:
        why, blocker = hold
        what = f"{blocker.kind} of {blocker.source_group}" if blocker.source_group else blocker.kind
        return StateLine(
            job.created_at, job.expires_at, f"Starts after the {what} on {blocker.host.name}.",
            _HOLD_DETAILS[why.code], blocker,
        )  # fmt: skip
    if ahead is not None:
        what = f"{ahead.kind} of {ahead.source_group}" if ahead.source_group else ahead.kind
        return StateLine(
            job.created_at, job.expires_at, f"Starts after the {what} on {name}.", "One job at a time per host."
        )
    return StateLine(job.created_at, job.expires_at, f"Sent to {name}; it starts within seconds.")


def result(job: Job, host: Host, *, may_read: bool = True) -> Result:
    """What to say of a job that has ended; unless `may_read`, nothing that may name files."""
    message = job.message if may_read else ""
    summary = job.summary or {}
    more = restore_words.ADVICE.get(job.reason) or ADVICE.get(job.reason, "")
    page = f"/hosts/{host.id}"
    repository = f"/repositories/{job.repository_id}" if job.repository_id else f"{page}#repository"
    settings = f"{repository}/edit" if job.repository_id else f"{page}/repository"
    slot = f"{repository}/maintenance" if job.repository_id else repository
    links = {
        "locked": {"href": repository, "word": "Open the repository"},
        "append_only": {"href": slot, "word": "Set a maintenance credential"},
        "repository_changed": {"href": repository, "word": "Open the repository"},
        "repository_damaged": {"href": repository, "word": "Open the repository"},
        "no_repository": {"href": f"{page}#repository", "word": "Open the repository"},
        "wrong_password": {"href": settings, "word": "Set the password"},
        "unreachable": {"href": f"{page}#repository", "word": "Test the repository"},
        "source_missing": {"href": f"{page}#sources", "word": "Open the source groups"},
        "secrets_corrupt": {"href": settings, "word": "Save the repository again"},
    }
    if job.outcome == "succeeded":
        return Result(text=message or _success(job, summary), more=_snapshot(job, summary))
    if job.outcome == "cancelled":
        text = message or f"Cancelled{f' by {job.cancel_requested_by}' if job.cancel_requested_by else ''}."
        if job.reason == "cancelled" and job.started_at and job.kind == "backup":
            more = "No snapshot was made. What was uploaded is kept and reused by the next backup."
        return Result(text=text, more=more)
    fallback = {"warnings": "Done, with warnings.", "lost": "Nobody knows how this job ended."}.get(
        job.outcome or "", "The job failed."
    )
    said = " ".join(part for part in (more, _snapshot(job, summary)) if part)
    return Result(text=message or fallback, more=said, link=links.get(job.reason))


def readouts(job: Job, samples: Sequence[tuple[int, int]]) -> list[Readout]:
    """The figures of a running or ended job; empty when there are none."""
    if job.state == "running":
        return _running(job, job.progress or {}, samples)
    return _ended(job, samples)


def has_figures(job: Job) -> bool:
    """Whether a running job has told how far it is."""
    progress = job.progress or {}
    return any(progress.get(name) for name in ("percent", "files_done", "bytes_done", "seconds_elapsed"))


def _running(job: Job, progress: dict[str, Any], samples: Sequence[tuple[int, int]]) -> list[Readout]:
    if not has_figures(job):
        return []
    done, unit = _amount(progress.get("bytes_done"))
    total = progress.get("bytes_total")
    files, all_files = progress.get("files_done", 0), progress.get("files_total", 0)
    rate, rate_unit = _amount(progress.get("bytes_per_second"))
    errors = progress.get("error_count", 0)
    return [
        Readout(
            restore_words.doing(job) or "Read", done, f"{unit} of {filters.size(total)}" if total else unit,
            f"{files:,} of {counted(all_files, 'file')}" if all_files else counted(files, "file"),
        ),
        Readout("Throughput", rate, f"{rate_unit}/s" if rate_unit else "", **_spark(samples)),
        Readout("Elapsed", filters.duration(progress.get("seconds_elapsed"))),
        Readout("Errors", f"{errors:,}", "", f"listed in the log, the {job.kind} goes on" if errors else "none so far"),
    ]  # fmt: skip


def _ended(job: Job, samples: Sequence[tuple[int, int]]) -> list[Readout]:
    summary = job.summary or {}
    found = [
        Readout(label, *(_amount(value) if is_bytes else (f"{value:,}", "")), note)
        for label, value, is_bytes, note in restore_words.figures(job)
    ]
    if job.kind == "diff":
        return found
    if _number(summary, "total_bytes_processed") is not None:
        value, unit = _amount(summary["total_bytes_processed"])
        files = _number(summary, "total_files_processed")
        found.append(Readout("Read", value, unit, counted(int(files), "file") if files is not None else ""))
    if _number(summary, "data_added") is not None:
        value, unit = _amount(summary["data_added"])
        packed = _number(summary, "data_added_packed")
        found.append(Readout("New data added", value, unit, f"{filters.size(packed)} stored" if packed else ""))
    if _number(summary, "files_new") is not None:
        changed, same = _number(summary, "files_changed"), _number(summary, "files_unmodified")
        note = ", ".join(f"{n:,} {word}" for n, word in ((changed, "changed"), (same, "unchanged")) if n is not None)
        found.append(Readout("New files", f"{summary['files_new']:,}", "", note))
    if found and len(samples) > 2 and job.started_at and job.finished_at:
        seconds = max(1.0, (job.finished_at - job.started_at).total_seconds())
        value, unit = _amount(samples[-1][1] / seconds)
        found.append(Readout("Throughput", value, f"{unit}/s on average", **_spark(samples)))
    return found


def _spark(samples: Sequence[tuple[int, int]]) -> dict[str, Any]:
    rates = drawings.thinned(drawings.rates(samples))
    if len(rates) < 2:
        return {"note": "measured once a second"}
    label = f"Throughput over time, up to {filters.size(max(rates))}/s"
    return {"spark": rates, "spark_label": label, "note": f"at most {filters.size(max(rates))}/s"}


def _success(job: Job, summary: dict[str, Any]) -> str:
    if told := restore_words.success(job, summary):
        return told
    if job.kind == "init":
        return "The repository is ready."
    if job.kind == "snapshots":
        return "The snapshots are listed."
    read, added = _number(summary, "total_bytes_processed"), _number(summary, "data_added")
    if job.kind == "backup" and read is not None and added is not None:
        return f"Backed up {filters.size(read)}; {filters.size(added)} of it was new."
    return "Done."


def _snapshot(job: Job, summary: dict[str, Any]) -> str:
    snapshot = summary.get("snapshot_id")
    if not isinstance(snapshot, str) or not snapshot or snapshot[:8] in job.message:
        return ""
    return f"Snapshot {snapshot[:8]}."


def _amount(count_of_bytes: object) -> tuple[str, str]:
    if not isinstance(count_of_bytes, (int, float)):
        return "–", ""
    value, _, unit = filters.size(count_of_bytes).partition(" ")
    return value, unit


def _number(values: dict[str, Any], key: str) -> int | None:
    found = values.get(key)
    return int(found) if isinstance(found, (int, float)) and not isinstance(found, bool) else None
