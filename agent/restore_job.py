"""A restore from its order to its verdict: what is looked at before, shown meanwhile, and checked afterwards."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from agent import clock, output, restic, restic_ends, restic_output, restoring, runner
from agent.contents import Contents, Count, NotReadable
from agent.job import Job, Left, Verdict
from agent.lines import OutOfTime
from agent.platform.linux import free_bytes, written_bytes
from agent.repository import Repository
from agent.restic_output import human_bytes
from agent.restoring import Wish
from agent.verification import Comparison, Verification
from rm.shared import instants
from rm.shared.protocol import JobProgress
from rm.shared.words import counted

COUNT_SECONDS = 1800.0
STATS_SECONDS = 600.0
TELL_SECONDS = 1.0
NO_BYTES = "A name that is no UTF-8 cannot be chosen by itself; choose the folder above it."


@dataclass(frozen=True)
class Plan:
    """Where a started restore goes and how much it will bring; kept with the job, for an agent after this one."""

    target: str
    files: int
    size: int

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def of(cls, job: Job) -> "Plan | None":
        try:
            raw = json.loads((job.directory.path / restoring.PLAN_FILE).read_bytes())
            return cls(str(raw["target"]), int(raw["files"]), int(raw["size"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None


# ---- before -----------------------------------------------------------------------------------------


def outline(job: Job, repository: Repository) -> restic.Step | Verdict:
    """The call as it will be, before anything is looked at; or why the order can never be carried out."""
    try:
        asked = restoring.wish(job.order)
        target = job.around.places.target(asked.target, job_id=job.order.job_id, is_in_place=asked.is_in_place)
    except NotReadable as error:
        return Verdict("failed", error.reason, error.message)
    version = repository.tool.version or (0,)
    return restic.Step(restoring.arguments(asked, target=str(target), version=version))


def prepare(job: Job, repository: Repository) -> restic.Step | Verdict:
    """The call that restores, or why nothing is restored; raises Left when the agent stops first."""
    try:
        return _prepare(job, repository)
    except NotReadable as error:
        return Verdict("failed", error.reason, error.message)
    except OutOfTime:
        if job.around.stop.is_set():
            raise Left from None
        return job.ended_early("before anything was restored")


def _prepare(job: Job, repository: Repository) -> restic.Step:
    places = job.around.places
    asked = restoring.wish(job.order)
    target = places.target(asked.target, job_id=job.order.job_id, is_in_place=asked.is_in_place)
    job.say(f"looking up what snapshot {asked.snapshot_id[:8]} holds")
    count = _count(job, repository, asked)
    if not asked.is_in_place:
        _check_space(repository, asked, count, places.directory)
        places.make(target)
    job.say(restoring.about_overwriting(asked))
    plan = Plan(str(target), count.files, count.bytes)
    version = repository.tool.version or (0,)
    arguments = restoring.arguments(asked, target=plan.target, version=version)
    return restic.Step(arguments, {restoring.PLAN_FILE: plan.to_bytes()})


def _count(job: Job, repository: Repository, asked: Wish) -> Count:
    until = time.monotonic() + COUNT_SECONDS
    selection = Contents(repository, asked.snapshot_id, asked.paths)
    count, is_whole = selection.count(lambda: _is_unwanted(job) or time.monotonic() > until)
    if _is_unwanted(job):
        raise OutOfTime
    if not is_whole:
        job.say("this took too long; the restore begins without knowing how much it will bring")
        return Count()
    if selection.missing:
        names = sorted(selection.missing)
        told = ", ".join(output.printable(name) for name in names[:3]) + (" …" if len(names) > 3 else "")
        advice = f" {NO_BYTES}" if any("\N{REPLACEMENT CHARACTER}" in name for name in names) else ""
        raise NotReadable("path_gone", f"Not in this snapshot: {told}. Nothing was restored.{advice}")
    job.say(f"{counted(count.files, 'file')}, {human_bytes(count.bytes)}, are to be restored")
    return count


def _is_unwanted(job: Job) -> bool:
    return job.around.stop.is_set() or job.must_end()


def _check_space(repository: Repository, asked: Wish, count: Count, directory: Path) -> None:
    """Raises NotReadable when the files cannot fit."""
    place = directory
    while not place.exists():
        place = place.parent
    free = free_bytes(place)
    needed = count.bytes
    if needed > free and not asked.paths:
        # Hard links share their bytes; restic can tell for a whole snapshot.
        needed = min(needed, _restore_size(repository, asked.snapshot_id) or needed)
    if needed > free:
        raise NotReadable(
            "target_full",
            f"The selection holds {human_bytes(needed)}, but only {human_bytes(free)} are free for {directory}."
            " Nothing was restored. Free some space there, or restore less at a time.",
        )


def _restore_size(repository: Repository, snapshot_id: str) -> int | None:
    answer = runner.ask(
        repository.program,
        ["stats", "--mode", "restore-size", "--json", "--no-lock", snapshot_id],
        environment=repository.environment,
        timeout_seconds=STATS_SECONDS,
    )
    try:
        return restic_output.number(json.loads(answer.out)["total_size"])
    except (ValueError, KeyError, TypeError):
        return None


# ---- meanwhile --------------------------------------------------------------------------------------


def watch(job: Job, running: runner.Running) -> dict[str, Any] | None:
    """A status of what an older restic has written so far, which does not tell by itself; None for one that does."""
    tool = job.repository.tool if job.repository else None
    if tool is None or restoring.speaks_json(tool.version or (0,)):
        return None
    plan, found = Plan.of(job), running.directory.processes()
    if plan is None or found is None or not plan.size or not job.started_at:
        return None
    written = written_bytes(found.restic)
    if written is None:
        return None
    done = min(written, plan.size)
    elapsed = datetime.now(timezone.utc) - instants.from_text(job.started_at)
    return {
        "message_type": "status",
        # What it writes into its cache is in this figure too, so that the end is never claimed early.
        "percent_done": min(done / plan.size, 0.99),
        "total_files": plan.files,
        "bytes_done": done,
        "total_bytes": plan.size,
        "seconds_elapsed": elapsed.total_seconds(),
    }


# ---- afterwards -------------------------------------------------------------------------------------


def left(job: Job) -> str:
    """Where the files of a restore that was ended early are, as a sentence."""
    plan = Plan.of(job)
    return f" What was restored before that is still in {plan.target}." if plan and plan.target != "/" else ""


def judge(job: Job, meaning: restic_ends.Meaning, code: int) -> Verdict:
    """The verdict on an ended restore; raises Left when the agent stops before all was checked."""
    plan = Plan.of(job)
    if plan is None or job.repository is None:
        text = "restic has ended, but the agent's record of this restore was damaged, so it could not be checked."
        return Verdict(meaning.outcome if code else "warnings", meaning.reason or "not_verified", text, code)
    summary: dict[str, Any] = {"target": plan.target}
    if meaning.reason == "disk_full":
        text = f"The disk is full: not all files were restored.{left(job)} Free some space, or restore less at a time."
        return Verdict("failed", "target_full", text, code, summary)
    if meaning.outcome == "failed" and meaning.reason != "restic_failed":
        return Verdict("failed", meaning.reason, meaning.message + left(job), code, summary)
    try:
        found = _verify(job, job.repository, plan)
    except OutOfTime:
        if job.around.stop.is_set():
            raise Left from None
        text = f"restic restored the files to {plan.target}; as the job had to end, they were not checked."
        return Verdict("warnings", "not_verified", text, code, summary)
    except NotReadable as error:
        text = f"restic ended, but what it restored to {plan.target} could not be checked: {error.message}"
        return Verdict("failed" if code else "warnings", "not_verified", text, code, summary)
    return _of_comparison(job, code, plan, found)


def _verify(job: Job, repository: Repository, plan: Plan) -> Comparison:
    asked = restoring.wish(job.order)
    job.say("checking that each file is there with the size that the snapshot says")
    job.book.flush()
    verification = Verification(Contents(repository, asked.snapshot_id, asked.paths), plan.target)
    return verification.run(lambda: _is_unwanted(job), _teller(job, plan))


def _teller(job: Job, plan: Plan) -> Callable[[Comparison], None]:
    """Shows once a second how far the check is."""
    told_at = 0.0

    def tell(found: Comparison) -> None:
        nonlocal told_at
        now = time.monotonic()
        if now - told_at < TELL_SECONDS:
            return
        told_at = now
        job.around.show_progress(
            JobProgress(
                job_id=job.order.job_id,
                at=clock.now(),
                percent=min(100.0, 100.0 * found.checked.files / plan.files) if plan.files else None,
                files_done=found.checked.files,
                files_total=max(plan.files, found.checked.files),
                bytes_done=found.checked.bytes,
                bytes_total=max(plan.size, found.checked.bytes),
                error_count=found.mismatches,
                phase="verifying",
            )
        )

    return tell


def _of_comparison(job: Job, code: int, plan: Plan, found: Comparison) -> Verdict:
    summary = {
        "target": plan.target,
        "restored_files": found.right.files,
        "restored_bytes": found.right.bytes,
        "checked_files": found.checked.files,
        "checked_bytes": found.checked.bytes,
        "mismatches": found.mismatches,
    }
    for line in found.told:
        job.say(output.printable(line))
    if found.mismatches > len(found.told):
        job.say(f"and {found.mismatches - len(found.told)} more")
    what = f"{counted(found.checked.files, 'file')}, {human_bytes(found.checked.bytes)}"
    place = "their old place" if plan.target == os.sep else plan.target
    if found.mismatches:
        first = output.printable(found.told[0])
        text = (
            f"{counted(found.mismatches, 'entry', 'entries')} of {found.checked.entries} in {place} are missing or not"
            f" as in the snapshot, first {first}. The log names more. Restore these again."
        )
        return Verdict("failed", "restore_incomplete" if code else "restore_mismatch", text, code, summary)
    if code:
        text = f"{what}, are in {place} with the right size, but restic reported errors; the log names them."
        return Verdict("warnings", "restore_errors", text, code, summary)
    text = f"Restored to {place}: {what}. Each is there with the size that the snapshot says."
    return Verdict("succeeded", "", text, code, summary)
