"""Bringing files back: what the order may ask, how restic is called, what it says meanwhile; runs nothing."""

from dataclasses import dataclass
from typing import Any

from agent import contents
from agent.browsing import pattern
from rm.shared.protocol import CommandRun

KIND = "restore"
PLAN_FILE = "restore.json"

# Since then restore tells its progress as JSON and leaves alone what it should not overwrite.
_SPEAKS_JSON = (0, 17)
_KNOWS_SPARSE = (0, 15)


@dataclass(frozen=True)
class Wish:
    """What somebody wants back, and where; no paths: everything; no target: the usual place."""

    snapshot_id: str
    paths: list[str]
    target: str
    is_in_place: bool


def wish(order: CommandRun) -> Wish:
    """What the order asks for; raises NotReadable for what nobody can ask."""
    given = order.parameters
    target = str(given.get("target") or "")
    return Wish(
        snapshot_id=contents.checked_snapshot(given.get("snapshot_id")),
        paths=contents.checked_paths(given.get("paths") or []),
        target="" if target == "/" else target,
        is_in_place=given.get("in_place") is True,
    )


def arguments(asked: Wish, *, target: str, version: tuple[int, ...]) -> list[str]:
    """The restic call that restores exactly these paths and what is below them."""
    found = ["restore", asked.snapshot_id, f"--target={target}"]
    if version >= _SPEAKS_JSON:
        # In place even a file of the same size and time is compared: it may be the damaged one.
        found += ["--json", "--overwrite=always" if asked.is_in_place else "--overwrite=never"]
    if version >= _KNOWS_SPARSE:
        found.append("--sparse")
    return found + [f"--include={pattern(path)}" for path in asked.paths]


def speaks_json(version: tuple[int, ...]) -> bool:
    """Whether this restic tells its progress by itself."""
    return version >= _SPEAKS_JSON


def about_overwriting(asked: Wish) -> str:
    """What happens to files that exist already, as a line of the log."""
    if asked.is_in_place:
        return (
            "in place: files that exist at their old place are overwritten with what the snapshot holds;"
            " files that are not in the snapshot stay"
        )
    return "the target is new and empty: no file that exists is overwritten"


def status(message: dict[str, Any]) -> dict[str, Any]:
    """Restic's status of a restore in the words of a backup's."""
    return {
        "message_type": "status",
        "percent_done": message.get("percent_done"),
        "files_done": message.get("files_restored"),
        "total_files": message.get("total_files"),
        "bytes_done": message.get("bytes_restored"),
        "total_bytes": message.get("total_bytes"),
        "seconds_elapsed": message.get("seconds_elapsed"),
    }
