"""update.json: the attempt that lasts, and how those before it ended, until the server has heard of it.

A release before or after this one reads it too: fields are only ever added, and what is unknown is left out.
"""

import contextlib
import dataclasses
import json
import logging
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent import clock
from agent.platform.replace import Disk
from rm.shared import ids

log = logging.getLogger("agent.update")

KEEP_OUTCOMES = 20
BEFORE_THE_SWAP = ("accepted", "preflight", "draining", "downloading", "verifying", "selftest")


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One order and how far it is; `was_red` names what was wrong with this host already before the swap, `has_part`
    says that what was downloaded so far is this attempt's own."""

    attempt_id: str
    kind: str = "update"
    epoch: int = 0
    order: dict[str, Any] = field(default_factory=dict)
    phase: str = "accepted"
    from_sha256: str = ""
    from_version: str = ""
    from_seq: int = 0
    to_sha256: str = ""
    to_version: str = ""
    to_seq: int = 0
    may_go_below: bool = False
    starts: int = 0
    has_part: bool = False
    was_red: list[str] = field(default_factory=list)
    trouble: str = ""
    trouble_code: str = ""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an attempt ended; `reported` once the outbox has it."""

    attempt_id: str
    outcome: str
    epoch: int = 0
    phase: str = ""
    reason: str = ""
    detail: str = ""
    at: str = ""
    reported: bool = False


class UpdateJournal:
    """The one writer of update.json; what a full disk refuses is kept in memory and tried again."""

    def __init__(self, path: Path, disk: Disk | None = None) -> None:
        self.path = path
        self.attempt: Attempt | None = None
        self.epoch = 0
        self.outcomes: list[Outcome] = []
        self._disk = disk or Disk()
        self._lock = threading.RLock()
        self._is_saved = True

    def load(self, *, set_aside: bool = True) -> "UpdateJournal":
        """Read what is on the disk; a damaged file is set aside, since the guard's files decide what boots."""
        try:
            raw = json.loads(self.path.read_bytes())
            attempt = raw.get("attempt")
            self.attempt = _build(Attempt, attempt) if attempt else None
            self.epoch = int(raw.get("epoch", 0))
            self.outcomes = [_build(Outcome, one) for one in raw.get("outcomes", [])]
        except FileNotFoundError:
            return self
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            log.error("%s is damaged: %s", self.path, error)
            if set_aside:
                with contextlib.suppress(OSError):
                    os.replace(self.path, self.path.with_name(f"{self.path.name}.damaged"))
        except OSError as error:
            log.error("%s cannot be read: %s", self.path, error)
        return self

    def outcome_of(self, attempt_id: str) -> Outcome | None:
        with self._lock:
            return next((one for one in reversed(self.outcomes) if one.attempt_id == attempt_id), None)

    def begin(self, attempt: Attempt) -> None:
        """Take the attempt on; raises OSError when the disk refuses it, and then nothing was begun."""
        with self._lock:
            before = (self.attempt, self.epoch, self.outcomes)
            self.attempt, self.epoch = attempt, max(self.epoch, attempt.epoch)
            self.outcomes = [one for one in self.outcomes if one.attempt_id != attempt.attempt_id]
            try:
                self.save()
            except OSError:
                self.attempt, self.epoch, self.outcomes = before
                raise

    def note(self, **changed: Any) -> None:
        """Change fields of the attempt; the disk may refuse."""
        with self._lock:
            if self.attempt is not None:
                self.attempt = dataclasses.replace(self.attempt, **changed)
                self._try_to_save()

    def note_surely(self, **changed: Any) -> None:
        """The same; raises OSError when the disk refuses."""
        with self._lock:
            if self.attempt is not None:
                before = self.attempt
                self.attempt = dataclasses.replace(self.attempt, **changed)
                try:
                    self.save()
                except OSError:
                    self.attempt = before
                    raise

    def finish(self, outcome: Outcome) -> None:
        """The attempt has ended; told to nobody yet."""
        with self._lock:
            self.outcomes = [one for one in self.outcomes if one.attempt_id != outcome.attempt_id]
            self.outcomes = [*self.outcomes, outcome][-KEEP_OUTCOMES:]
            self.epoch = max(self.epoch, outcome.epoch)
            if self.attempt is not None and self.attempt.attempt_id == outcome.attempt_id:
                self.attempt = None
            self._try_to_save()

    def reported(self, attempt_id: str) -> None:
        """The outbox has the outcome, which now survives there."""
        with self._lock:
            self.outcomes = [
                dataclasses.replace(one, reported=True) if one.attempt_id == attempt_id else one
                for one in self.outcomes
            ]
            self._try_to_save()

    def unreported(self) -> list[Outcome]:
        with self._lock:
            return [one for one in self.outcomes if not one.reported]

    def retry(self) -> None:
        """Bring to disk what it refused."""
        with self._lock:
            if not self._is_saved:
                self._try_to_save()

    def save(self) -> None:
        body = {
            "format": 1,
            "written_at": clock.now(),
            "epoch": self.epoch,
            "attempt": dataclasses.asdict(self.attempt) if self.attempt else None,
            "outcomes": [dataclasses.asdict(one) for one in self.outcomes],
        }
        self._is_saved = False
        self._disk.write(self.path, json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass"))
        self._is_saved = True

    def _try_to_save(self) -> None:
        try:
            self.save()
        except OSError as error:
            log.error("%s cannot be written: %s", self.path, error)


def _build(kind: Any, raw: dict[str, Any]) -> Any:
    known = kind.__dataclass_fields__
    found = {name: value for name, value in raw.items() if name in known}
    usual = dataclasses.asdict(kind(**{name: "" for name in ("attempt_id", "outcome") if name in known}))
    for name, value in found.items():
        if type(value) is not type(usual[name]):
            raise ValueError(f"{name} is of the wrong kind")
    if not ids.is_ulid(found.get("attempt_id")):
        raise ValueError("attempt_id is none")
    return kind(**found)
