"""The guard's plain files: what the agent tells it, and what it found done at its next start."""

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path

from agent.platform.replace import Disk

OF_A_TRIAL = (
    "hello", "ask_revert", "limit_s", "expired", "ticks", "stop_ordered", "reverting", "unreadable", "committed",
)  # fmt: skip
VERDICTS = ("reverted", "revert_failed")
KEEP_BAD = 50
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Trial:
    """What the guard must know of an update: which file may boot, how often, and for how long."""

    attempt: str
    from_sha256: str
    to_sha256: str
    limit_s: int
    commit_s: int

    @property
    def text(self) -> bytes:
        lines = (
            f"attempt={self.attempt}",
            f"from={self.from_sha256}",
            f"to={self.to_sha256}",
            "boots=0",
            f"limit_s={self.limit_s}",
            f"commit_s={self.commit_s}",
        )
        return "".join(f"{line}\n" for line in lines).encode()


@dataclass(frozen=True)
class Verdict:
    """How the guard ended a trial: `kind` is reverted or revert_failed."""

    kind: str
    attempt: str
    reason: str
    is_bad: bool


class GuardFiles:
    """One directory that agent and guard share; each file has one writer at a time."""

    def __init__(self, directory: Path, disk: Disk | None = None) -> None:
        self.directory = directory
        self._disk = disk or Disk()

    def trial(self) -> Trial | None:
        """The trial that lasts, None when there is none; raises OSError when that cannot be told."""
        facts = self._facts("trial")
        if facts is None:
            return None
        return Trial(
            attempt=facts.get("attempt", ""),
            from_sha256=facts.get("from", ""),
            to_sha256=facts.get("to", ""),
            limit_s=_number(facts.get("limit_s", "")),
            commit_s=_number(facts.get("commit_s", "")),
        )

    def verdict(self) -> Verdict | None:
        """What the guard has said of a trial and nobody has taken note of yet; raises OSError."""
        for kind in reversed(VERDICTS):
            facts = self._facts(kind)
            if facts is not None:
                return Verdict(kind, facts.get("attempt", ""), facts.get("reason", "")[:64], facts.get("bad") == "1")
        return None

    def forget_verdict(self) -> None:
        self._forget(*VERDICTS)

    def arm(self, trial: Trial) -> None:
        """Begin a trial; nothing of an earlier one may speak for it."""
        self._forget(*OF_A_TRIAL, *VERDICTS)
        self._disk.write(self.directory / "trial", trial.text)

    def end_trial(self) -> None:
        """Nothing was swapped: the guard need not watch."""
        self._forget("trial")
        self._forget(*OF_A_TRIAL)

    def tell(self, name: str, word: str = "") -> None:
        """Leave the guard a file of one word, or an empty one; raises OSError."""
        path = self.directory / name
        if word:
            self._disk.write(path, f"{word}\n".encode())
        elif not path.exists():
            # Only a name, which a full disk seldom refuses.
            self._disk.create(path, b"")
            self._disk.sync_names(self.directory)

    def has_told(self, name: str) -> bool:
        return (self.directory / name).exists()

    def is_bad(self, sha256: str) -> bool:
        """Whether that artifact was put back on this host."""
        return (self.directory / "bad" / sha256).exists()

    def bad(self) -> list[str]:
        """The artifacts that were put back, newest first."""
        with contextlib.suppress(OSError):
            found = [path for path in (self.directory / "bad").iterdir() if _SHA256.fullmatch(path.name)]
            return [path.name for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)]
        return []

    def forget_bad(self, sha256: str) -> bool:
        """Let the artifact be tried again; False when it was not on the list. Raises OSError."""
        if not _SHA256.fullmatch(sha256) or not self.is_bad(sha256):
            return False
        self._disk.unlink(self.directory / "bad" / sha256)
        self._disk.sync_names(self.directory / "bad")
        return True

    def prune_bad(self) -> None:
        for name in self.bad()[KEEP_BAD:]:
            with contextlib.suppress(OSError):
                self.forget_bad(name)

    def _forget(self, *names: str) -> None:
        present = [name for name in names if self.has_told(name)]
        for name in present:
            self._disk.unlink(self.directory / name)
        if present:
            self._disk.sync_names(self.directory)

    def _facts(self, name: str) -> dict[str, str] | None:
        try:
            text = (self.directory / name).read_text("utf-8", "replace")
        except FileNotFoundError:
            return None
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _number(text: str) -> int:
    return int(text) if text.isdigit() and len(text) < 10 else 0
