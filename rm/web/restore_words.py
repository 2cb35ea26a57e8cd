"""What to say of restores and comparisons: titles, what happens next, figures, and what to do about their ends."""

from dataclasses import dataclass, replace
from typing import Any

from rm.domain import restic_lines
from rm.shared.words import counted
from rm.store import repositories, snapshots
from rm.store.models import Host, Job
from rm.web import filters

PATHS_SHOWN = 20

ADVICE = {
    "snapshot_gone": "Nothing was restored. List the snapshots again and choose one that is still there.",
    "path_gone": "Nothing was restored. Look into the snapshot again and pick what is there.",
    "target_full": "Free some space there, or restore less at a time.",
    "target_not_allowed": "Nothing was restored. Leave the folder's name empty, or choose one below the directory.",
    "target_not_writable": "Nothing was restored. The message says what the host's owner can do.",
    "target_not_empty": "Nothing was restored. Choose another folder, or leave its name empty.",
    "in_place_not_allowed": "Nothing was restored. Restore into a folder and copy from there.",
    "restore_mismatch": "The log names the files that differ. Restore these again, or take them from another snapshot.",
    "restore_incomplete": "The log names what is missing. Restore that again, or take it from another snapshot.",
    "restore_errors": "The log names what restic did not like, often owners or times that could not be set.",
    "not_verified": "The files may well be good; look at them before you rely on them.",
}  # fmt: skip

CANCEL_POINTS = {
    "restore": (
        "restic is asked to end. What was restored so far stays where it is.",
        "In place, some files may already be overwritten.",
    ),
    "diff": ("restic is asked to end. Nothing is changed by it.",),
}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """What a restore's or a comparison's page shows besides what every job shows."""

    kind: str
    snapshots: tuple[tuple[str, str], ...]
    paths: tuple[str, ...] = ()
    path_count: int = 0
    target: str = ""
    target_word: str = ""
    checked: str = ""
    next: tuple[str, ...] = ()
    command: str = ""
    again: str = ""


def part(job: Job, host: Host, *, may_read: bool = True) -> Part | None:
    """That, for a restore or a comparison, without names of files unless `may_read`; None for other jobs."""
    if job.kind not in ("restore", "diff"):
        return None
    found = _restore(job, host) if job.kind == "restore" else _diff(job)
    return found if may_read else replace(found, paths=(), next=(), command="")


def following(job: Job, finish: str) -> str:
    """What happens next to one that runs; empty for other jobs."""
    if job.kind == "restore":
        if (job.progress or {}).get("phase") == "verifying":
            return "restic is done; the sizes of the restored files are compared with the snapshot."
        return f"{finish}, then the sizes of the restored files are compared with the snapshot. Prunes wait meanwhile."
    if job.kind == "diff":
        return f"{finish}. Each change is a line of the log below."
    return ""


def doing(job: Job) -> str:
    """What the bytes are that one that runs is through with; empty for other jobs."""
    is_checking = (job.progress or {}).get("phase") == "verifying"
    return ("Checked" if is_checking else "Restored") if job.kind == "restore" else ""


def success(job: Job, summary: dict[str, Any]) -> str:
    """A sentence for one that ended well without a message; empty for other jobs."""
    if job.kind == "restore":
        files, size = _whole(summary, "restored_files"), _whole(summary, "restored_bytes")
        return f"Restored {counted(files, 'file')}, {filters.size(size)}."
    if job.kind == "diff":
        new, removed, changed = (_whole(summary, f"files_{name}") for name in ("new", "removed", "changed"))
        return f"{counted(new, 'file')} new, {removed:,} removed, {changed:,} changed."
    return ""


def figures(job: Job) -> list[tuple[str, int, bool, str]]:
    """(label, value, whether it is bytes, note) for one that has ended; empty when nothing is known."""
    summary = job.summary or {}
    if job.kind == "restore" and isinstance(summary.get("checked_files"), int):
        wrong = _whole(summary, "mismatches")
        return [
            ("Restored", _whole(summary, "restored_bytes"), True, counted(_whole(summary, "restored_files"), "file")),
            ("Checked", _whole(summary, "checked_bytes"), True, counted(_whole(summary, "checked_files"), "file")),
            ("Not as in the snapshot", wrong, False, "the log names them" if wrong else "every size is right"),
        ]
    if job.kind == "diff" and isinstance(summary.get("files_new"), int):
        added, removed = _whole(summary, "added_bytes"), _whole(summary, "removed_bytes")
        return [
            ("New files", _whole(summary, "files_new"), False, f"{filters.size(added)} only in the newer snapshot"),
            ("Changed files", _whole(summary, "files_changed"), False, ""),
            (
                "Removed files",
                _whole(summary, "files_removed"),
                False,
                f"{filters.size(removed)} only in the older one",
            ),
        ]
    return []


def _restore(job: Job, host: Host) -> Part:
    given, summary = job.parameters or {}, job.summary or {}
    snapshot_id = str(given.get("snapshot_id") or "")
    paths = [path for path in given.get("paths") or [] if isinstance(path, str)]
    told = summary.get("target")
    is_in_place = given.get("in_place") is True
    target = str(told or given.get("target") or "")
    if not target and host.restore_directory and not is_in_place:
        target = f"{host.restore_directory.rstrip('/')}/{job.id}"
    wrong, checked = _whole(summary, "mismatches"), _whole(summary, "checked_files")
    checked_words = ""
    if isinstance(summary.get("checked_files"), int):
        checked_words = (
            f"{wrong:,} of {counted(checked, 'file')} not as in the snapshot"
            if wrong
            else f"the sizes of {counted(checked, 'file')} are those of the snapshot"
        )
    elif job.outcome in ("succeeded", "warnings"):
        checked_words = "not checked"
    repository = repositories.find(job.repository_id)
    return Part(
        kind="restore",
        snapshots=((snapshot_id, _href(job, snapshot_id)),),
        paths=tuple(paths[:PATHS_SHOWN]),
        path_count=len(paths),
        target="" if is_in_place else target,
        target_word="back to where they were" if is_in_place else "",
        checked=checked_words,
        next=_next(job, host, target, is_in_place),
        command=restic_lines.restore(
            repository.location, snapshot_id[:8], target="/" if is_in_place else target or "./restored",
            paths=paths[:PATHS_SHOWN],
        )
        if repository is not None and not job.command
        else "",
        again=_href(job, snapshot_id),
    )  # fmt: skip


def _next(job: Job, host: Host, target: str, is_in_place: bool) -> tuple[str, ...]:
    if job.state != "finished" or job.outcome not in ("succeeded", "warnings"):
        return ()
    if is_in_place:
        return ("Start again what uses these files, and look whether it works.",)
    return (
        f"On {host.name}, as root, the files are below {target} with their whole path.",
        "Copy them to where they belong, for example with cp -a, then remove the folder: nothing else removes it.",
    )


def _diff(job: Job) -> Part:
    given = job.parameters or {}
    pair = [str(given.get(name) or "") for name in ("snapshot_a", "snapshot_b")]
    repository = repositories.find(job.repository_id)
    return Part(
        kind="diff",
        snapshots=tuple((snapshot_id, _href(job, snapshot_id)) for snapshot_id in pair),
        next=("In the log, + is new, - is removed, M has other content, T another type, U other metadata.",),
        command=restic_lines.difference(repository.location, pair[0][:8], pair[1][:8])
        if repository is not None and not job.command
        else "",
    )


def _href(job: Job, snapshot_id: str) -> str:
    """The page of the snapshot, if it is still known."""
    known = snapshots.find(job.repository_id, snapshot_id)
    return f"/repositories/{job.repository_id}/snapshots/{snapshot_id}" if known is not None else ""


def _whole(values: dict[str, Any], key: str) -> int:
    found = values.get(key)
    return found if isinstance(found, int) and not isinstance(found, bool) else 0
