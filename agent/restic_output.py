"""What restic prints: its JSON lines, summaries and lists, as values and as lines for people."""

import json
import re
from typing import Any

from rm.shared import instants
from rm.shared.protocol import Snapshot
from rm.shared.words import counted


def readable(raw: bytes) -> str:
    """Bytes as text; what is not UTF-8 becomes a visible escape."""
    return raw.decode("utf-8", "backslashreplace")


def parse_line(text: str) -> dict[str, Any] | None:
    """The message in a line of restic's JSON output, None for a line that is something else."""
    if not text.startswith("{"):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("message_type"), str) else None


def describe_message(message: dict[str, Any]) -> str | None:
    """A JSON message as one line for people; None for those that are no log lines."""
    kind = message["message_type"]
    if kind == "error":
        error = message.get("error")
        detail = error.get("message") if isinstance(error, dict) else error
        return f"error: {detail or error or 'unknown'} ({message.get('item', '')})"
    if kind == "exit_error":
        return str(message.get("message", "failed"))
    return None


def number(value: Any) -> int:
    """A whole number that is not negative, 0 for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or value in (float("inf"),):
        return 0
    return min(max(0, int(value)), 2**53 - 1)


def human_bytes(count: int) -> str:
    """1536 as 1.5 KiB."""
    size, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while size >= 1024 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{size:.0f} {units[0]}" if units[0] == "B" else f"{size:.1f} {units[0]}"


def describe_summary(summary: dict[str, Any]) -> list[str]:
    """The summary of a backup as lines for people."""
    seconds = summary.get("total_duration")
    took = f" in {float(seconds):.1f} s" if isinstance(seconds, int | float) else ""
    return [
        f"Files: {number(summary.get('files_new'))} new, {number(summary.get('files_changed'))} changed,"
        f" {number(summary.get('files_unmodified'))} unmodified",
        f"Added to the repository: {human_bytes(number(summary.get('data_added')))}",
        f"Processed {counted(number(summary.get('total_files_processed')), 'file')},"
        f" {human_bytes(number(summary.get('total_bytes_processed')))}{took}",
        f"Snapshot {str(summary.get('snapshot_id', ''))[:64]} saved",
    ]


def describe_success(summary: dict[str, Any]) -> str:
    """The sentence that a saved snapshot deserves."""
    files = counted(number(summary.get("total_files_processed")), "file")
    return (
        f"Snapshot {str(summary['snapshot_id'])[:8]} was saved: {files},"
        f" {human_bytes(number(summary.get('total_bytes_processed')))} processed,"
        f" {human_bytes(number(summary.get('data_added')))} added."
    )


def clean_summary(summary: dict[str, Any]) -> dict[str, Any]:
    """The plain numbers and texts of a summary."""
    kept = {k: v for k, v in summary.items() if isinstance(v, str | int | float) and k != "message_type"}
    return dict(list(kept.items())[:40])


def parse_snapshots(text: str) -> list[Snapshot] | None:
    """The snapshots in what `restic snapshots --json` printed, None when it is not that."""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if raw is None:
        return []
    if not isinstance(raw, list) or not all(isinstance(item, dict) for item in raw):
        return None
    try:
        return [_snapshot(item) for item in raw]
    except (KeyError, ValueError, TypeError, OverflowError):
        return None


def _snapshot(item: dict[str, Any]) -> Snapshot:
    found = item.get("summary")
    summary: dict[str, Any] = found if isinstance(found, dict) else {}
    return Snapshot(
        id=str(item["id"])[:64],
        time=instant(str(item["time"])),
        hostname=str(item.get("hostname") or "")[:253],
        username=str(item.get("username") or "")[:253],
        paths=[str(path)[:4096] for path in item.get("paths") or []][:64],
        tags=[str(tag)[:200] for tag in item.get("tags") or []][:32],
        total_bytes=_known(summary, "total_bytes_processed"),
        total_files=_known(summary, "total_files_processed"),
        data_added=_known(summary, "data_added"),
        utc_offset_minutes=utc_offset(str(item["time"])),
    )


def _known(summary: dict[str, Any], name: str) -> int | None:
    return number(summary[name]) if name in summary else None


def utc_offset(text: str) -> int:
    """How many minutes the clock of restic's time is ahead of UTC; 0 for a text without an offset."""
    found = re.search(r"([+-])(\d\d):(\d\d)$", text)
    return int(f"{found[1]}1") * (int(found[2]) * 60 + int(found[3])) if found else 0


def instant(text: str) -> str:
    """Restic's time, with its nanoseconds, as a moment of the wire."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)", text)
    if not found:
        raise ValueError(f"not a time: {text[:40]!r}")
    fraction = (found[2] or "")[:6].ljust(6, "0")
    return instants.to_text(instants.from_text(f"{found[1]}.{fraction}{found[3]}"))
