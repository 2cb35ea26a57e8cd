"""What changed between two snapshots: how restic is asked, and its answer in lines and figures."""

import json
from pathlib import Path
from typing import Any

from agent import contents, restic_output
from agent.output import printable
from rm.shared.protocol import CommandRun
from rm.shared.words import counted

KIND = "diff"
MAX_LINES = 20_000
CUT = f"Only the first {MAX_LINES:,} changes are shown; the figures at the end count all of them."
TAIL_BYTES = 64 * 1024


def arguments(order: CommandRun) -> list[str]:
    """The restic call; raises NotReadable for what are no ids."""
    given = order.parameters
    pair = [contents.checked_snapshot(given.get(name)) for name in ("snapshot_a", "snapshot_b")]
    return ["diff", "--json", *pair]


def line(message: dict[str, Any]) -> str:
    """A change as a line of the log, as restic itself shows it."""
    return f"{message.get('modifier', '?')!s:4} {printable(str(message.get('path', '')))}"


def find_figures(out: Path) -> dict[str, int] | None:
    """The figures that restic printed last; None when there are none."""
    with open(out, "rb") as file:
        file.seek(max(0, out.stat().st_size - TAIL_BYTES))
        lines = file.read().split(b"\n")
    for raw in reversed(lines):
        try:
            message = json.loads(raw)
        except (ValueError, RecursionError):
            continue
        if isinstance(message, dict) and message.get("message_type") == "statistics":
            return _figures(message)
    return None


def _figures(message: dict[str, Any]) -> dict[str, int]:
    added, removed = (found if isinstance(found := message.get(name), dict) else {} for name in ("added", "removed"))
    return {
        "files_new": restic_output.number(added.get("files")),
        "files_removed": restic_output.number(removed.get("files")),
        "files_changed": restic_output.number(message.get("changed_files")),
        "dirs_new": restic_output.number(added.get("dirs")),
        "dirs_removed": restic_output.number(removed.get("dirs")),
        "others_new": restic_output.number(added.get("others")),
        "others_removed": restic_output.number(removed.get("others")),
        "added_bytes": restic_output.number(added.get("bytes")),
        "removed_bytes": restic_output.number(removed.get("bytes")),
    }


def describe(figures: dict[str, int]) -> str:
    """The figures as a sentence."""
    return (
        f"{counted(figures['files_new'], 'file')} new, {figures['files_removed']} removed, {figures['files_changed']}"
        f" changed; {restic_output.human_bytes(figures['added_bytes'])} only in the second snapshot,"
        f" {restic_output.human_bytes(figures['removed_bytes'])} only in the first."
    )
