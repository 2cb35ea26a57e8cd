"""Fetching what an order names: resumed, bounded in size, speed and time, beside the program and nowhere else."""

import errno
import logging
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from agent.http import Transport, Unreachable
from agent.platform.replace import Disk, sha256
from agent.update.ending import Failed
from agent.update.timers import RETRY_SECONDS
from agent.update.verify import Papers
from rm.shared.minisign import MAX_SIGNATURE_BYTES
from rm.shared.release import MAX_MANIFEST_BYTES, Artifact

log = logging.getLogger("agent.update")

CHUNK_BYTES = 64 * 1024
STALL_SECONDS = 30.0
FULL = (errno.ENOSPC, errno.EDQUOT)
# What another try would not change, if the server itself says it and no proxy before it.
FINAL_STATUSES = (400, 401, 403, 404, 410)
_T = TypeVar("_T")


@dataclass
class Fetcher:
    """`wait` sleeps and raises when the attempt is to end; `show` is told how far it is."""

    transport: Transport
    credential: Callable[[], str]
    wait: Callable[[float], None]
    show: Callable[[float | None, str], None]
    kib_per_second: int = 0
    disk: Disk = Disk()  # noqa: RUF009 - it has no state

    def papers(self, manifest_sha256: str) -> Papers:
        """Keyset and manifest with their signatures; raises Failed."""
        named = f"?sha256={manifest_sha256}"
        return Papers(
            keyset=self._small("/agent/keyset", MAX_MANIFEST_BYTES),
            keyset_signature=self._small("/agent/keyset.minisig", MAX_SIGNATURE_BYTES),
            manifest=self._small(f"/agent/release{named}", MAX_MANIFEST_BYTES),
            manifest_signature=self._small(f"/agent/release.minisig{named}", MAX_SIGNATURE_BYTES),
        )

    def artifact(self, artifact: Artifact, target: Path, *, seconds: float) -> None:
        """All bytes of the artifact in the file, durable; goes on where one before it stopped. Raises Failed."""
        until = time.monotonic() + seconds
        was_resumed = target.exists()
        self._try_again(lambda: self._pull(artifact, target, until))
        if was_resumed and sha256(target) != artifact.sha256:
            # A power cut may have left a hole in what was there before: that is nobody's attack.
            log.warning("What was resumed does not fit together; it is fetched anew.")
            self.disk.unlink(target)
            self._try_again(lambda: self._pull(artifact, target, until))

    def _small(self, path: str, max_bytes: int) -> bytes:
        def ask() -> bytes:
            found = self.transport.get(path, token=self.credential(), max_bytes=max_bytes)
            self._judge(found.status, found.error_code, path)
            return found.data

        return self._try_again(ask)

    def _judge(self, status: int, code: str, path: str) -> None:
        if status in (200, 206):
            return
        text = f"The server answers HTTP {status}{f' ({code})' if code else ''} for {path.partition('?')[0]}."
        if status in FINAL_STATUSES and code:
            raise _failed("not_served", f"{text} Is the release still on the server?")
        raise Unreachable(text)

    def _try_again(self, attempt: Callable[[], _T]) -> _T:
        for pause in (*RETRY_SECONDS, None):
            try:
                return attempt()
            except Unreachable as error:
                if pause is None:
                    raise _failed("unreachable", f"{error} Tried {len(RETRY_SECONDS) + 1} times.") from error
                # Jitter: a fleet must not come back at once.
                seconds = pause * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, guards nothing
                self.show(None, f"{error} Next try in {seconds:.0f} s.")
                self.wait(seconds)
        raise AssertionError("not reached")

    def _pull(self, artifact: Artifact, target: Path, until: float) -> None:
        offset = target.stat().st_size if target.exists() else 0
        if offset > artifact.size:
            self.disk.unlink(target)
            offset = 0
        if offset == artifact.size:
            self.disk.sync(target)
            return
        headers = {"Range": f"bytes={offset}-", "If-Range": f'"{artifact.sha256}"'} if offset else {}
        path = f"/agent/artifact/{artifact.sha256}"
        with self.transport.download(
            path, token=self.credential(), headers=headers, timeout_seconds=STALL_SECONDS
        ) as found:
            if found.status == 416:
                self.disk.unlink(target)
                raise Unreachable("The server does not know this part of the file.")
            self._judge(found.status, found.error_code(), path)
            is_rest = found.status == 206 and found.headers.get("content-range", "").startswith(f"bytes {offset}-")
            if found.status == 206 and not is_rest:
                self.disk.unlink(target)
                raise Unreachable("The server sent another part of the file than was asked for.")
            self._store(found.read, target, artifact, offset if is_rest else 0, until)

    def _store(self, read: Callable[[int], bytes], target: Path, artifact: Artifact, offset: int, until: float) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_APPEND if offset else os.O_TRUNC)
        began, done = time.monotonic(), offset
        try:
            with os.fdopen(os.open(target, flags, 0o600), "wb") as file:
                while data := read(min(CHUNK_BYTES, artifact.size + 1 - done)):
                    done += len(data)
                    if done > artifact.size:
                        break
                    file.write(data)
                    self.show(100.0 * done / artifact.size, f"{done} of {artifact.size} bytes")
                    self.wait(self._pause(done - offset, time.monotonic() - began))
                    if time.monotonic() > until:
                        text = f"{done} of {artifact.size} bytes had come when the time for it was over."
                        raise _failed("download_timeout", text)
                file.flush()
                os.fsync(file.fileno())
            self.disk.sync_names(target.parent)
        except OSError as error:
            if error.errno in FULL:
                self.disk.unlink(target)
            raise
        if done > artifact.size:
            self.disk.unlink(target)
            text = f"The server sends more than the {artifact.size} bytes that the manifest says."
            raise Failed("wrong_size", text, phase="verifying")
        if done < artifact.size:
            raise Unreachable(f"The connection ended after {done} of {artifact.size} bytes.")

    def _pause(self, done: int, seconds: float) -> float:
        if self.kib_per_second <= 0:
            return 0.0
        return max(0.0, done / (self.kib_per_second * 1024) - seconds)


def _failed(reason: str, detail: str) -> Failed:
    return Failed(reason, detail, phase="downloading")
