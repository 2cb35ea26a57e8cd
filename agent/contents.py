"""What a snapshot holds, read from restic piece by piece; the same words for a snapshot that is gone everywhere."""

import re
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass

from agent import entries, restic_ends
from agent.entries import Entry
from agent.lines import Lines, OutOfTime
from agent.repository import Repository

MAX_PATHS = 200
MAX_PATH = 16_384

GONE = (
    "This snapshot is not in the repository any more; retention or somebody has removed it. List the snapshots again"
    " and choose another one."
)
_GONE = re.compile(
    r"no matching id found|no snapshot found"
    r"|(failed to load snapshot|load\(<snapshot/).*(no such file|not exist|not found|nosuchkey|404)",
    re.IGNORECASE,
)


class NotReadable(Exception):
    """The snapshot could not be read; carries reason and sentence."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def is_snapshot_gone(error_text: str) -> bool:
    """Whether restic's words say that the snapshot does not exist."""
    return _GONE.search(error_text) is not None


def checked_snapshot(value: object) -> str:
    """The id of a snapshot; raises NotReadable for what can be none."""
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{8,64}", value):
        raise NotReadable("bad_request", "That is not the id of a snapshot.")
    return value


def checked_path(value: object) -> str:
    """An absolute path inside a snapshot, without a slash at its end; raises NotReadable for what is none."""
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value or len(value) > MAX_PATH:
        raise NotReadable("bad_request", "A path inside a snapshot starts with a slash.")
    found = value.rstrip("/") or "/"
    if found != "/" and any(part in ("", ".", "..") for part in found[1:].split("/")):
        raise NotReadable("bad_request", "A path inside a snapshot has no empty, . or .. parts.")
    return found


def checked_paths(value: object) -> list[str]:
    """Some paths, none for the whole snapshot; raises NotReadable."""
    if not isinstance(value, list) or len(value) > MAX_PATHS:
        raise NotReadable("bad_request", f"Choose at most {MAX_PATHS} files and folders, or the folder above them.")
    found = list(dict.fromkeys(checked_path(one) for one in value))
    return [] if "/" in found else found


def listed(
    repository: Repository, snapshot_id: str, paths: Iterable[str], *, is_recursive: bool, is_over: Callable[[], bool]
) -> Generator[bytes, None, None]:
    """The lines of `restic ls`, the snapshot's own first; raises NotReadable and OutOfTime."""
    options = ["--recursive"] if is_recursive else []
    yield from spoken(repository, ["ls", "--json", "--no-lock", *options, snapshot_id, *paths], is_over=is_over)


def spoken(
    repository: Repository, arguments: list[str], *, is_over: Callable[[], bool], separator: bytes = b"\n"
) -> Generator[bytes, None, None]:
    """What such a call prints about one snapshot; raises NotReadable and OutOfTime."""
    program = [*arguments, *repository.bandwidth]
    try:
        with Lines(repository.program, program, environment=repository.environment, is_over=is_over) as lines:
            yield from lines.pieces(separator)
            code, error_text = lines.code, lines.error_text
    except OSError as error:
        raise NotReadable("restic_failed", f"restic could not be started: {error.strerror}.") from error
    # The oldest restic only mentions a missing snapshot and ends well.
    if is_snapshot_gone(error_text):
        raise NotReadable("snapshot_gone", GONE)
    if code != 0:
        meaning = restic_ends.meaning(code, error_text=error_text, kind="ls")
        raise NotReadable(meaning.reason, meaning.message)


@dataclass
class Count:
    """How much a selection holds."""

    files: int = 0
    bytes: int = 0
    entries: int = 0


class Contents:
    """A selection of a snapshot: some files and folders with all that is below them, or everything."""

    def __init__(self, repository: Repository, snapshot_id: str, paths: list[str]) -> None:
        self._repository = repository
        self._snapshot_id = snapshot_id
        self._paths = paths
        self.missing = set(paths)

    def walk(self, is_over: Callable[[], bool]) -> Iterator[Entry]:
        """Each entry once; afterwards `missing` names what is not in the snapshot. Raises NotReadable, OutOfTime."""
        lines = listed(self._repository, self._snapshot_id, self._paths, is_recursive=True, is_over=is_over)
        for raw in lines:
            entry = entries.parse(raw)
            if entry is None:
                continue
            if entry.is_exact:
                self.missing.discard(entry.path)
            yield entry

    def count(self, is_over: Callable[[], bool]) -> tuple[Count, bool]:
        """How much it holds, and whether that was all when the time was over; raises NotReadable."""
        found = Count()
        try:
            for entry in self.walk(is_over):
                found.entries += 1
                if entry.type == "file":
                    found.files += 1
                    found.bytes += entry.size
        except OutOfTime:
            return found, False
        return found, True
