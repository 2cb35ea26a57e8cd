"""What restic's end means for the job that it was started for."""

from typing import Any

from agent import (
    contents,
    diffing,
    locks,
    output,
    restic_ends,
    restic_output,
    restore_job,
    restoring,
    retention,
    snapshots,
    unlocking,
    upkeep,
)
from agent.job import Job, Verdict
from agent.job_directory import DISK_FULL
from agent.platform import linux
from agent.usual import Size
from rm.shared.protocol import RepositoryStats, Snapshot
from rm.shared.words import counted

# Runs that tell how many files are usual: what is missing today must not count as usual tomorrow.
GOOD_ENOUGH = ("", "some_files_unreadable")


def judge(job: Job, code: int | str | None) -> Verdict:
    """The verdict on a job whose restic has ended, `code` None when nobody saw how."""
    kind = job.order.kind
    summary = output.find_summary(job.directory.out) if kind == "backup" else None
    has_ended_well = code in (0, 3) and (kind != "backup" or summary is not None)
    lock = remove_lock(job) if code not in (0, 3) else ""
    if job.directory.is_to_end() and not has_ended_well:
        left = restore_job.left(job) if kind == restoring.KIND else ""
        return job.ended_early("while it ran", lock + left, code)
    if code is None:
        return interrupted(job, summary)
    if code == DISK_FULL:
        return Verdict("failed", "disk_full", restic_ends.sentence("disk_full"))
    error_text = output.error_text(job.directory)
    meaning = restic_ends.meaning(int(code), error_text=error_text, kind=kind)
    if kind in (restoring.KIND, diffing.KIND) and code != 0 and contents.is_snapshot_gone(error_text):
        meaning = restic_ends.Meaning("failed", "snapshot_gone", contents.GONE)
    if kind == restoring.KIND:
        return restore_job.judge(job, meaning, int(code))
    if kind == "init":
        return _of_init(job, meaning, int(code))
    if meaning.outcome == "failed":
        return Verdict("failed", meaning.reason, meaning.message, code)
    if kind == "snapshots":
        return _of_listing(job, int(code))
    if kind == diffing.KIND:
        return _of_diff(job, int(code))
    if kind in upkeep.KINDS:
        return _of_upkeep(job, int(code))
    return _of_backup(job, meaning, int(code), summary)


def interrupted(job: Job, summary: dict[str, Any] | None) -> Verdict:
    """The verdict on a job whose end nobody saw."""
    if job.directory.is_to_end():
        return job.ended_early("while it ran")
    text = restic_ends.sentence("interrupted")
    if summary and summary.get("snapshot_id"):
        text += f" Before that it had reported snapshot {str(summary['snapshot_id'])[:64]}."
    return Verdict("failed", "interrupted", text)


def remove_lock(job: Job) -> str:
    """Removes what locks this agent's dead restics have left, and says when one of this job may remain."""
    kinds = (*locks.SHARED, *locks.EXCLUSIVE)
    if job.repository is None or job.order.kind not in kinds:
        return ""
    swept = unlocking.sweep(job.repository, job.around.ledger, say=job.say)
    job.proofs += swept.proofs if swept else []
    if swept and swept.proofs:
        return " Its lock was removed."
    found = job.directory.processes()
    if swept and not any(found and lock.pid == found.restic for lock in swept.left):
        return ""
    if swept is None and not job.was_killed:
        return ""
    return " Its lock may remain in the repository; when no other restic works there, remove it: restic unlock"


def _of_init(job: Job, meaning: restic_ends.Meaning, code: int) -> Verdict:
    if job.repository is None or meaning.reason == "restic_killed":
        return Verdict(meaning.outcome, meaning.reason, meaning.message, code)
    identity, opened = job.repository.identity()
    if identity is None and code == 0:
        return Verdict("failed", opened.reason, f"The repository does not open after it was made: {opened.message}")
    if identity is None:
        worse = meaning if opened.reason == "no_repository" else opened
        return Verdict("failed", worse.reason, worse.message, code)
    job.around.outbox.add(RepositoryStats(repository_id=job.order.repository_id, restic_repository_id=identity))
    if code == 0 or not job.around.known.identity(job.order.repository_id):
        job.around.known.remember(job.order.repository_id, identity)
    if code == 0:
        return Verdict("succeeded", "", "The repository was created.", code)
    text = "The repository existed already and opens with this password."
    job.say(text)
    return Verdict("succeeded", "", text, code)


def _of_listing(job: Job, code: int) -> Verdict:
    found = restic_output.parse_snapshots(restic_output.readable(job.directory.out.read_bytes()))
    if found is None:
        text = "restic ended well but what it printed is not a list of snapshots. Check which restic runs."
        return Verdict("failed", "restic_garbled", text, code)
    report_snapshots(job, found)
    job.say(counted(len(found), "snapshot"))
    return Verdict("succeeded", "", f"{counted(len(found), 'snapshot')} listed.", code)


def _of_diff(job: Job, code: int) -> Verdict:
    figures = diffing.find_figures(job.directory.out)
    if figures is None:
        text = "restic ended well but printed no figures of a comparison. Check which restic runs."
        return Verdict("failed", "restic_garbled", text, code)
    return Verdict("succeeded", "", diffing.describe(figures), code, dict(figures))


def _of_upkeep(job: Job, code: int) -> Verdict:
    summary: dict[str, Any] = {}
    if job.order.kind == "forget":
        return _of_forget(job, code)
    if job.order.kind == "unlock":
        after = job.repository.locks() if job.repository else None
        text, summary = upkeep.describe_unlock(job.locks_before, after)
    elif job.order.kind == "prune":
        text = upkeep.describe_prune(output.error_text(job.directory))
    else:
        text = upkeep.describe_check(job.order)
    return Verdict("succeeded", "", text, code, summary)


def _of_forget(job: Job, code: int) -> Verdict:
    found = retention.parse(output.whole(job.directory))
    if found is None:
        text = "restic ended well but what it printed is not what a forget prints. Check which restic runs."
        return Verdict("failed", "restic_garbled", text, code)
    for line in found.lines():
        job.say(line)
    listed = job.repository.snapshots() if job.repository else None
    if listed is not None:
        report_snapshots(job, listed)
    return Verdict("succeeded", "", found.text, code, found.summary)


def _of_backup(job: Job, meaning: restic_ends.Meaning, code: int, summary: dict[str, Any] | None) -> Verdict:
    listed = job.repository.snapshots() if job.repository else None
    if summary is None:
        mine = _made_meanwhile(job, listed or [])
        if mine is None:
            return Verdict("failed", "restic_garbled", restic_ends.sentence("restic_garbled"), code)
        summary = {"snapshot_id": mine.id}
        text = f"restic's report cannot be read, but snapshot {mine.id[:8]} of this run is in the repository."
        meaning = restic_ends.Meaning("warnings", "restic_garbled", text)
    if listed is not None:
        full = [s.id for s in listed if s.id.startswith(str(summary["snapshot_id"]))]
        summary = summary | ({"snapshot_id": full[0]} if len(full) == 1 else {})
        report_snapshots(job, listed)
    else:
        job.say("the snapshots could not be listed after the backup; the list will be updated by the next job")
    outcome, reason, message = meaning.outcome, meaning.reason, meaning.message
    # A later restic ends with 3 for a missing path too, which 0.14 only mentions.
    if job.missing and (outcome == "succeeded" or reason == "some_files_unreadable"):
        outcome, reason = "warnings", "source_missing"
        message = (
            f"The snapshot was made, but {len(job.missing)} of {len(job.order.includes)} paths to back up do"
            f" not exist on this host: {', '.join(map(output.printable, job.missing[:3]))}. Correct the includes."
        ) + (" If other files could not be read, the log names them." if code == 3 else "")
    size = Size.of(summary)
    few = job.around.usual.judge(job.order, size, is_good=reason in GOOD_ENOUGH) if size else ""
    if few and (outcome == "succeeded" or reason == "some_files_unreadable"):
        outcome, reason, message = (
            "warnings",
            "fewer_files",
            f"{few} {message or restic_output.describe_success(summary)}",
        )
    message = message or restic_output.describe_success(summary)
    return Verdict(outcome, reason, message, code, restic_output.clean_summary(summary))


def _made_meanwhile(job: Job, listed: list[Snapshot]) -> Snapshot | None:
    name = job.order.hostname or linux.hostname()
    tag = job.order.source_group.replace(",", "_")
    mine = [
        s for s in listed
        if s.hostname == name and (not tag or tag in s.tags) and job.started_at and s.time >= job.started_at
    ]  # fmt: skip
    return mine[-1] if mine else None


def report_snapshots(job: Job, found: list[Snapshot]) -> None:
    """Tell the server what is in the repository."""
    identity = job.identity or (job.repository.identity()[0] if job.repository else None)
    if identity and not job.around.known.identity(job.order.repository_id):
        job.around.known.remember(job.order.repository_id, identity)
    job.around.outbox.add_all(
        [
            *snapshots.reports(repository_id=job.order.repository_id, snapshots=found),
            RepositoryStats(
                repository_id=job.order.repository_id, restic_repository_id=identity, snapshot_count=len(found)
            ),
        ]
    )
