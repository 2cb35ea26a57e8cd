"""Reports that wait for the server's answer: on disk, ordered, bounded; results never drop."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.outbox_file import Bookmark, OutboxFile
from agent.report import LOG, Report, cut
from rm.shared import ids
from rm.shared.protocol import FROM_AGENT, SnapshotsReport, encode

HELD_LOG_BYTES = 8 * 1024 * 1024
_NAMES = {type_: name for name, type_ in FROM_AGENT.items()}
_LISTING = _NAMES[SnapshotsReport]


class Outbox:
    """At-least-once delivery: what is added stays until `done` names it, over crashes and full disks."""

    def __init__(
        self,
        path: Path,
        *,
        max_reports: int = 20_000,
        max_bytes: int = 64 * 1024 * 1024,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self.wake = wake
        self._max_reports = max_reports
        self._max_bytes = max_bytes
        self._lock = threading.RLock()
        self._held: list[tuple[Report, Bookmark | None]] = []
        self._cuts = 0
        self._done_unsaved: set[str] = set()
        self._newest_listings: dict[str, int] = {}
        self._file = OutboxFile(path, restarted=self._done_unsaved.clear)
        self._next_seq = self._file.last_seq + 1

    @property
    def was_reset(self) -> bool:
        """Whether the file was damaged and begun anew."""
        return self._file.was_reset

    @property
    def cuts(self) -> int:
        """How many batches of log lines gave way."""
        return self._file.cuts + self._cuts

    def add(self, payload: Any, *, bookmark: Bookmark | None = None) -> str:
        """Keep a report until it is answered; its bookmark (job id, state) is kept in the same transaction."""
        return self.add_all([payload], bookmark=bookmark)[0]

    def add_all(self, payloads: list[Any], *, bookmark: Bookmark | None = None) -> list[str]:
        """Keep several reports in one transaction, with the bookmark that belongs behind the last.

        A list of a repository's snapshots takes the place of the one before, which nobody needs any more.
        """
        made = [(payload, ids.new_ulid()) for payload in payloads]
        with self._lock:
            self._replace_listings({one.repository_id for one in payloads if isinstance(one, SnapshotsReport)})
            for payload, message_id in made:
                job_id = str(getattr(payload, "job_id", "") or getattr(payload, "attempt_id", ""))
                if isinstance(payload, SnapshotsReport):
                    job_id = payload.repository_id
                frame = encode(payload, message_id)
                self._held.append((Report(self._next_seq, message_id, _NAMES[type(payload)], job_id, frame), None))
                self._next_seq += 1
            if made and bookmark:
                self._held[-1] = (self._held[-1][0], bookmark)
            self._save_held()
            self._file.keep_bound(max_reports=self._max_reports, max_bytes=self._max_bytes)
        self.wake()
        return [message_id for _, message_id in made]

    def is_saved(self) -> bool:
        """Whether every report is on the disk."""
        with self._lock:
            return not self._held

    def has(self, *, kind: str, job_id: str) -> bool:
        """Whether a report of that kind about that job still waits."""
        with self._lock:
            if any(r.type == kind and r.job_id == job_id for r, _ in self._held):
                return True
            return not self._done_unsaved.issuperset(self._file.ids_of(kind=kind, job_id=job_id))

    def pending(self, *, after: int, limit: int) -> list[Report]:
        """The oldest waiting reports behind a sequence number, in order."""
        with self._lock:
            found = self._file.waiting(after=after, limit=limit + len(self._done_unsaved))
            found += [r for r, _ in self._held if r.seq > after]
            return [r for r in found if r.id not in self._done_unsaved][:limit]

    def done(self, message_id: str) -> None:
        """The server has answered: the report need not be repeated."""
        with self._lock:
            before = len(self._held)
            kept = [(r, b) for r, b in self._held if r.id != message_id]
            if len(kept) != before:
                # What has been answered need not reach the disk, but the place it marks in a log does.
                dropped = [b for r, b in self._held if r.id == message_id]
                self._held = kept
                for mark in filter(None, dropped):
                    self._file.put_bookmark(mark)
                return
            self._done_unsaved.add(message_id)
            self._save_done()

    def bookmark(self, job_id: str) -> str | None:
        """The state that was kept with the last report of a job."""
        with self._lock:
            for _, mark in reversed(self._held):
                if mark and mark[0] == job_id:
                    return mark[1]
            return self._file.bookmark(job_id)

    def forget_bookmark(self, job_id: str) -> None:
        """The job has ended; its place in the log is no longer needed."""
        with self._lock:
            self._held = [(r, None if b and b[0] == job_id else b) for r, b in self._held]
            self._file.forget_bookmark(job_id)

    def load(self) -> tuple[int, int]:
        """How many reports wait, and their bytes."""
        with self._lock:
            held = sum(r.size for r, _ in self._held)
            return self._file.count + len(self._held) - len(self._done_unsaved), max(0, self._file.bytes) + held

    def problems(self) -> list[str]:
        """What is wrong with the outbox, in sentences for people."""
        with self._lock:
            return list(self._file.problems.values())

    def retry(self) -> None:
        """Try again to bring to disk what a full disk refused."""
        with self._lock:
            if self._held:
                self._save_held()
            if self._done_unsaved:
                self._save_done()
            if not self._held:
                self._file.make_reserve()

    def close(self) -> None:
        with self._lock:
            self.retry()
            self._file.close()

    def _replace_listings(self, repository_ids: set[str]) -> None:
        """What is held or kept of these repositories' lists before this moment goes when the new ones are kept."""
        self._newest_listings |= dict.fromkeys(repository_ids, self._next_seq)
        self._held = [
            (report, mark)
            for report, mark in self._held
            if mark or report.type != _LISTING or report.job_id not in repository_ids
        ]

    def _save_held(self) -> None:
        if self._file.keep(self._held, lists=_LISTING, newest=self._newest_listings):
            self._held.clear()
            self._newest_listings.clear()
        else:
            self._bound_held()

    def _save_done(self) -> None:
        gone = sorted(self._done_unsaved)
        if self._file.remove(gone):
            self._done_unsaved.difference_update(gone)

    def _bound_held(self) -> None:
        """Keep memory bounded while the disk is full: the oldest log batches become cut marks there too."""
        size = sum(r.size for r, _ in self._held)
        at = 0
        while size > HELD_LOG_BYTES and at < len(self._held):
            report, mark = self._held[at]
            if report.type != LOG or report.cut_lines:
                at += 1
                continue
            before = next(
                (
                    i
                    for i in range(at - 1, -1, -1)
                    if self._held[i][0].cut_lines and self._held[i][0].job_id == report.job_id
                ),
                None,
            )
            size -= report.size
            self._cuts += 1
            if before is None:
                grown = cut(report, None)
                self._held[at] = (grown, mark)
                size += grown.size
                at += 1
            else:
                self._held[before] = (cut(self._held[before][0], report), mark or self._held[before][1])
                del self._held[at]
