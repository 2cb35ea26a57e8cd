"""What restic wrote into its output files, read after its end."""

import json
from pathlib import Path
from typing import Any

from agent import restic_output
from agent.job_directory import JobDirectory

TAIL_BYTES = 64 * 1024
WHOLE_BYTES = 64 * 1024 * 1024


def printable(name: str) -> str:
    """A file name on one line."""
    return json.dumps(name, ensure_ascii=False) if "\n" in name else name


def _tail(path: Path, start: int = 0) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(max(start, path.stat().st_size - TAIL_BYTES))
            return file.read()
    except OSError:
        return b""


def find_summary(out: Path) -> dict[str, Any] | None:
    """The summary that restic printed last, None without one that names a snapshot."""
    for raw in reversed(_tail(out).split(b"\n")):
        message = restic_output.parse_line(restic_output.readable(raw))
        if message and message["message_type"] == "summary" and isinstance(message.get("snapshot_id"), str):
            return message if message["snapshot_id"] else None
    return None


def whole(directory: JobDirectory) -> str:
    """All that restic printed since its last start; of a list that is more than 64 MiB only the beginning."""
    intent = directory.intent()
    try:
        with open(directory.out, "rb") as file:
            file.seek(intent.out_from if intent else 0)
            return restic_output.readable(file.read(WHOLE_BYTES))
    except OSError:
        return ""


def error_text(directory: JobDirectory) -> str:
    """What restic said in words; its status lines hold file names, which could read like errors."""
    found = []
    intent = directory.intent()
    starts = (intent.out_from, intent.err_from) if intent else (0, 0)
    for path, start in zip((directory.out, directory.err), starts, strict=True):
        for raw in _tail(path, start).split(b"\n"):
            text = restic_output.readable(raw)
            message = restic_output.parse_line(text)
            shown = text if message is None else restic_output.describe_message(message)
            if shown:
                found.append(shown)
    return "\n".join(found)
