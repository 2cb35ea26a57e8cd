"""Keeping a repository in order: how check, unlock, prune, forget are called and what their ends mean; runs nothing."""

import re
from collections.abc import Sequence
from typing import Any

from agent import retention
from agent.locks import Lock
from rm.shared.protocol import CommandRun
from rm.shared.words import counted

KINDS = ("check", "unlock", "prune", "forget")
# What these do needs the right to delete, which the everyday credential may not have.
NEED_MAINTENANCE = ("prune", "forget")
# What these write must not land in a repository that is not the one that the server knows.
NEED_IDENTITY = ("backup", "prune", "forget")
LOCKS_TOLD = 5

_PROGRESS = re.compile(r"\[(?:\d+:)?\d+:\d\d\] +(\d{1,3}(?:\.\d+)?)% +(\d+) / (\d+) ")
_REFUSED_REMOVAL = re.compile(
    r"(remove\(<|not removed|unable to remove).*(403|forbidden|access ?denied)", re.IGNORECASE
)

_SENTENCES = {
    "append_only": "The repository refuses to delete: it is append-only for this credential. Nothing was removed. Give"
    " it a maintenance credential that may delete, on the repository's page, and run the job again.",
    "repository_damaged": "The check found errors: some of the repository's data is damaged or missing; the log names"
    " them. Do not prune. Make a copy of the repository and follow restic's advice on repair.",
}


def arguments(order: CommandRun) -> list[str]:
    """The restic call of such an order."""
    if order.kind == "forget":
        return retention.arguments(order)
    if order.kind == "check" and (subset := str(order.parameters.get("subset") or "")):
        if not re.fullmatch(r"\d{1,3}/\d{1,3}", subset):
            raise ValueError(f"not a subset: {subset[:20]!r}")
        return ["check", f"--read-data-subset={subset}"]
    return [order.kind]


def reason(kind: str, error_text: str) -> tuple[str, str] | None:
    """Reason and sentence of a failure that only these jobs know, None for those that all jobs share."""
    if kind in NEED_MAINTENANCE and _REFUSED_REMOVAL.search(error_text):
        return "append_only", _SENTENCES["append_only"]
    if kind == "check" and "repository contains errors" in error_text.lower():
        return "repository_damaged", _SENTENCES["repository_damaged"]
    return None


def progress(text: str) -> dict[str, Any] | None:
    """A line of restic's progress display as a status message; None for other lines, and for a step that is done."""
    found = _PROGRESS.match(text)
    if found is None or float(found[1]) >= 100:
        return None
    return {"message_type": "status", "percent_done": float(found[1]) / 100}


def describe_unlock(before: Sequence[Lock] | None, after: Sequence[Lock] | None) -> tuple[str, dict[str, Any]]:
    """What an `unlock` removed and what it left, as a sentence and as figures; None: the locks could not be listed."""
    if after is None:
        return "Stale locks were removed; which ones could not be seen.", {}
    left = {lock.id for lock in after}
    removed = [lock for lock in before or () if lock.id not in left]
    told = ", ".join(map(str, removed[:LOCKS_TOLD])) + (" …" if len(removed) > LOCKS_TOLD else "")
    if before is None:
        text = "Stale locks were removed."
    elif not removed:
        text = "No lock was removed." if after else "There was no lock to remove."
    else:
        text = f"Removed {counted(len(removed), 'stale lock')}: {told}."
    if after:
        kept = ", ".join(map(str, after[:LOCKS_TOLD])) + (" …" if len(after) > LOCKS_TOLD else "")
        text += (
            f" Still locked: {kept}. Such a lock is fresh: its restic may be at work. A lock whose process is gone"
            " on another host becomes stale after 30 minutes; run this again then."
        )
    return text, {"locks_removed": len(removed), "locks_left": len(after)}


_PRUNED = {
    "freed": re.compile(r"^(?:this removes|total prune): +\d+ blobs / (.+)$", re.MULTILINE),
    "remaining": re.compile(r"^remaining: +\d+ blobs / (.+)$", re.MULTILINE),
}


def describe_prune(output_text: str) -> str:
    """What a prune freed, in restic's own figures."""
    freed, remaining = (pattern.findall(output_text) for pattern in _PRUNED.values())
    if not freed:
        return "The repository was pruned."
    return f"The repository was pruned: {freed[-1]} freed" + (f", {remaining[-1]} remain." if remaining else ".")


def describe_check(order: CommandRun) -> str:
    """What a check that found nothing proves, and what it does not."""
    subset = order.parameters.get("subset")
    if subset == "1/1":
        return "No errors were found; all data was read."
    if subset:
        return f"No errors were found; part {subset} of the data was read."
    return "No errors were found in the repository's structure. The data itself was not read."
