"""What the ends of restic mean: its exit codes and error texts as a reason and a sentence for people."""

import signal
from dataclasses import dataclass

from agent import upkeep


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
    # before "locked": a lock that cannot be written is nobody's lock
    ("not_writable", ("read-only file system",)),
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
    "not_writable": "A place that had to be written to is read-only for the agent. For a directory on this host,"
    " run the install line once more with --writable and that directory.",
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
    if kind == "init" and reason is None and "permission denied" in error_text.lower():
        reason = "not_writable"
    if reason:
        return Meaning("failed", reason, sentence(reason))
    line = next((one for one in reversed(error_text.splitlines()) if one.strip()), "it said nothing")
    return Meaning("failed", "restic_failed", sentence("restic_failed", code=code, line=line.strip()[:500]))


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
