"""How restic is called: arguments, environment, versions; nothing here runs it."""

import re
import signal
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit, urlunsplit

from agent import locks, upkeep
from rm.shared.protocol import CommandRun, RepositoryConfig

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


def step(order: CommandRun, *, directory: str, hostname: str) -> Step:
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
