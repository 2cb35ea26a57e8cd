"""How restic is called and what it means: arguments, environment, exit codes, output; nothing here runs it."""

import json
import re
import signal
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from agent import locks, upkeep
from rm.shared import instants
from rm.shared.protocol import CommandRun, RepositoryConfig, Snapshot
from rm.shared.words import counted

OLDEST = (0, 14)
# No longer: while restic itself waits nobody sees what for; after that the agent waits and says it.
RETRY_LOCK_SECONDS = 60
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
KINDS = ("init", "backup", "snapshots", "restore", "diff", *upkeep.KINDS)

# Restic 0.14 leaves its lock behind on SIGTERM and removes it on SIGINT; later versions remove it on both.
CANCEL_SIGNAL = signal.SIGINT


@dataclass(frozen=True)
class Step:
    """One call of restic: arguments without secrets, and the files that they name."""

    arguments: list[str]
    files: dict[str, bytes] = field(default_factory=dict)


def step(order: CommandRun, *, directory: str, version: tuple[int, ...], hostname: str) -> Step:
    """The call that does what the order says; `directory` is where its files will be."""
    if order.kind == "init":
        return Step(["init"])
    if order.kind == "snapshots":
        return Step(["snapshots", "--json", "--no-lock"])
    if order.kind in upkeep.KINDS:
        return Step(upkeep.arguments(order))
    arguments = ["backup", "--json"]
    tags = [order.source_group, *(order.group.tags if order.group else [])]
    for tag in dict.fromkeys(tag.replace(",", "_") for tag in tags if tag.strip()):
        arguments += ["--tag", tag]
    if order.group and order.group.one_file_system:
        arguments.append("--one-file-system")
    if order.group and order.group.exclude_caches:
        arguments.append("--exclude-caches")
    arguments += ["--host", order.hostname or hostname]
    files = {"includes": b"".join(path_bytes(name) + b"\0" for name in order.includes)}
    arguments += ["--files-from-raw", f"{directory}/includes"]
    if order.excludes:
        files["excludes"] = b"".join(exclude_pattern(name) + b"\n" for name in order.excludes)
        arguments += ["--exclude-file", f"{directory}/excludes"]
    return Step(arguments, files)


def retry_lock(order: CommandRun, version: tuple[int, ...]) -> list[str]:
    """Has a restic that can wait for a lock itself, so that one which appears at the last moment fails no job."""
    patience = order.group.lock_wait_seconds if order.group else RETRY_LOCK_SECONDS
    if version < (0, 16) or order.kind not in (*locks.SHARED, *locks.EXCLUSIVE) or not patience:
        return []
    return [f"--retry-lock={min(patience, RETRY_LOCK_SECONDS)}s"]


def path_bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def exclude_pattern(pattern: str) -> bytes:
    """A pattern as a line of an exclude file: line breaks become `?`; `$` and a leading `#` stand for themselves."""
    text = re.sub(r"[\r\n]", "?", pattern).replace("$", "$$")
    text = re.sub(r"^#", "[#]", text)
    text = re.sub(r"^\s+|\s+$", lambda blank: "?" * len(blank[0]), text)
    return path_bytes(text)


def environment(
    repository: RepositoryConfig, *, home: str, cache: str, temporary: str, proxies: dict[str, str]
) -> dict[str, str]:
    """The whole environment of restic; nothing is inherited."""
    found = {
        "PATH": PATH,
        "HOME": home,
        "LANG": "C.UTF-8",
        "TMPDIR": temporary,
        "XDG_CACHE_HOME": cache,
        "RESTIC_CACHE_DIR": cache,
        "RESTIC_PROGRESS_FPS": "1",
        "RESTIC_PASSWORD": repository.password,
        **proxies,
    }
    location, extra = backend(repository)
    return found | extra | {"RESTIC_REPOSITORY": location}


_BACKEND_NAMES = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "b2": ("B2_ACCOUNT_ID", "B2_ACCOUNT_KEY"),
    "azure": ("AZURE_ACCOUNT_NAME", "AZURE_ACCOUNT_KEY"),
    "swift": ("OS_USERNAME", "OS_PASSWORD"),
}


def backend(repository: RepositoryConfig) -> tuple[str, dict[str, str]]:
    """The location as restic is given it, and the variables that carry the backend's user and secret."""
    kind, _, rest = repository.location.partition(":")
    if not repository.username and not repository.secret:
        return repository.location, {}
    if kind == "rest":
        parts = urlsplit(rest)
        host = parts.netloc.rpartition("@")[2]
        user = quote(repository.username, safe="")
        if repository.secret:
            user += ":" + quote(repository.secret, safe="")
        return "rest:" + urlunsplit(parts._replace(netloc=f"{user}@{host}")), {}
    if kind in _BACKEND_NAMES:
        return repository.location, dict(
            zip(_BACKEND_NAMES[kind], (repository.username, repository.secret), strict=True)
        )
    return repository.location, {}


def parse_version(text: str) -> tuple[int, ...] | None:
    """(0, 14, 0) from what `restic version` prints; None for anything else."""
    found = re.match(r"restic (\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in found.groups()) if found else None


def features(version: tuple[int, ...] | None) -> list[str]:
    """What this restic can do that an older one cannot."""
    if version is None:
        return []
    known = {"compression": (0, 14), "exit_codes": (0, 17), "summary_in_snapshots": (0, 17), "no_extra_verify": (0, 17)}
    return [name for name, since in known.items() if version >= since]


# ---- what an end means ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Meaning:
    """What restic's end says about a job."""

    outcome: str
    reason: str
    message: str


_CODES = {
    3: "some_files_unreadable",
    10: "no_repository",
    11: "locked",
    12: "wrong_password",
    126: "restic_missing",
    127: "restic_missing",
}
_TEXTS = (
    ("wrong_password", ("wrong password or no key found",)),
    ("locked", ("repository is already locked", "unable to create lock in backend")),
    ("disk_full", ("no space left on device", "disk quota exceeded", "file too large")),
    ("source_missing", ("all target directories/files do not exist", "all source directories/files do not exist")),
    (
        "unreachable",
        (
            "connection refused", "no such host", "i/o timeout", "no route to host", "network is unreachable",
            "connection reset", "tls handshake", "x509:", "temporary failure in name resolution", "deadline exceeded",
            "unexpected http response", "401 unauthorized", "403 forbidden", "connection timed out", "broken pipe",
        ),
    ),
    (
        "no_repository",
        (
            "unable to open config file", "is there a repository at", "repository does not exist",
            "unable to open repository",
        ),
    ),
)  # fmt: skip
_SENTENCES = {
    "no_repository": "There is no repository at this location. Check the location, or initialise the repository.",
    "locked": "The repository is locked by another restic. Wait for its end; if it is gone, unlock the repository.",
    "wrong_password": "The repository does not open with this password. Correct it on the repository's page.",
    "unreachable": "The repository cannot be reached from this host. Check address, network, proxy and credentials.",
    "restic_missing": "restic was not found on this host. Install it (apt install restic, dnf install restic).",
    "disk_full": "A disk is full: no space was left to write to. Free some space on the host or in the repository.",
    "source_missing": "None of the paths to back up exists on this host. Correct the includes of the source group.",
    "some_files_unreadable": "The snapshot was made, but some files could not be read; the log names them.",
    "restic_killed": "restic was killed from outside ({signal}); the kernel does this when memory runs out.",
    "restic_failed": "restic ended with exit code {code}: {line}",
    "restic_garbled": "restic ended well but named no snapshot, so nothing proves the backup. Check which restic runs.",
    "interrupted": "restic ended without telling how, as after a power cut or a killed host. Run the job again.",
}


def sentence(reason: str, **values: object) -> str:
    """The sentence for people that belongs to a reason."""
    return _SENTENCES[reason].format(**values)


def reason_of_text(text: str) -> str | None:
    """The reason that an error text names, for restic versions whose exit code is just 1."""
    lowered = text.lower()
    return next((reason for reason, marks in _TEXTS if any(mark in lowered for mark in marks)), None)


def meaning(code: int, *, error_text: str, kind: str = "backup") -> Meaning:
    """The meaning of restic's exit code; the text refines the reason of a failure and nothing else."""
    if code == 0:
        return Meaning("succeeded", "", "")
    if code == 3 and kind == "backup":
        return Meaning("warnings", "some_files_unreadable", sentence("some_files_unreadable"))
    if code >= 128 or code < 0:
        number = code - 128 if code >= 128 else -code
        return Meaning("failed", "restic_killed", sentence("restic_killed", signal=signal_name(number)))
    special = upkeep.reason(kind, error_text)
    if special:
        return Meaning("failed", *special)
    # 3 is a partial result; only a backup's deserves to be called one.
    reason = (_CODES.get(code) if code != 3 else None) or reason_of_text(error_text)
    if reason:
        return Meaning("failed", reason, sentence(reason))
    line = next((one for one in reversed(error_text.splitlines()) if one.strip()), "it said nothing")
    return Meaning("failed", "restic_failed", sentence("restic_failed", code=code, line=line.strip()[:500]))


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


# ---- output -----------------------------------------------------------------------------------------


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
