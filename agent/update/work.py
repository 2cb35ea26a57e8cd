"""One attempt on its way to the swap, in a thread of its own that ends with it.

accepted → preflight → draining → downloading → verifying → selftest → (fence) → ready to swap
"""

import logging
import threading
import time
from collections.abc import Callable

from agent.errors import AgentError
from agent.platform.replace import sha256
from agent.update import candidate, orders, preflight, swap
from agent.update.candidate import Expected
from agent.update.download import FULL, Fetcher
from agent.update.ending import Cancelled, Deferred, Ended, Failed, Left, Refused
from agent.update.journal import Attempt
from agent.update.kit import Kit
from agent.update.timers import ANSWER_SECONDS, PROGRESS_SECONDS, Timers
from agent.update.verify import Papers, Verifier
from rm.shared import instants
from rm.shared.fields import build
from rm.shared.protocol import Ack, CommandUpdate, Error, UpdateProgress
from rm.shared.release import Artifact

log = logging.getLogger("agent.update")

SHOW_SECONDS = 1.0


class Work:
    """`ended` is told how the attempt ended, `ready` that the swap may be made; one of them, or none if it is left."""

    def __init__(
        self, kit: Kit, attempt: Attempt, *, ended: Callable[[Attempt, Ended, str], None],
        ready: Callable[[Attempt], None], answer_seconds: float = ANSWER_SECONDS,
    ) -> None:  # fmt: skip
        self.attempt = attempt
        self.phase = attempt.phase
        self._kit = kit
        self._ended = ended
        self._ready = ready
        self._answer_seconds = answer_seconds
        self._timers = Timers.of(attempt.order.get("timers") or {})
        self._book = kit.log_of(attempt.attempt_id)
        self._lock = threading.Lock()
        self._shown: tuple[float | None, str] = (None, "")
        self._shown_at = 0.0
        self._is_fenced = False
        self._cancelled = ""
        self._is_stopping = False
        self._ends = threading.Event()
        self._poked = threading.Event()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="update", daemon=True)

    def start(self) -> None:
        self._thread.start()
        threading.Thread(target=self._beat, name="update-progress", daemon=True).start()

    def show_again(self) -> None:
        """Tell the server where this stands."""
        self._send()

    def cancel(self, text: str) -> bool:
        """End it if the swap is not allowed yet; False when it is too late."""
        with self._lock:
            if self._is_fenced:
                return False
            self._cancelled = text
        self._ends.set()
        self._poked.set()
        return True

    def stop(self, seconds: float) -> None:
        """The agent ends; the next one carries on."""
        self._is_stopping = True
        self._ends.set()
        self._poked.set()
        self._thread.join(seconds)

    def poke(self) -> None:
        """Something that is waited for may have come."""
        self._poked.set()

    # ---- the thread ----------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._steps()
        except Left:
            log.info("The update is left where it is and carried on at the next start.")
            self._kit.jobs.release()
        except Ended as error:
            self._end(error)
        except OSError as error:
            text = f"{error.filename or self._kit.places.program.parent}: {error.strerror}. Nothing was changed."
            self._end(Failed("disk_full" if error.errno in FULL else "io_error", text))
        except AgentError as error:
            self._end(Failed("state_damaged", str(error)))
        except Exception as error:
            log.exception("The update failed inside the agent")
            self._end(Failed("agent_error", f"The agent failed on it ({type(error).__name__}); its own log says more."))
        finally:
            self._done.set()

    def _end(self, error: Ended) -> None:
        self._kit.jobs.release()
        self._ended(self.attempt, error, error.phase or self.phase)

    def _steps(self) -> None:
        order = self.attempt.order
        is_local = bool(order.get("local"))
        if self.attempt.kind == "rollback":
            self._enter("preflight")
            self._look()
            self._drain()
            self._stage_old()
        else:
            self._update(build(CommandUpdate, order))
        self._selftest()
        if not is_local:
            self._fence()
        self._ready(self.attempt)

    def _update(self, order: CommandUpdate) -> None:
        kit = self._kit
        fetcher = Fetcher(
            transport=kit.transport,
            credential=lambda: kit.secrets.load().credential,
            wait=self._wait,
            show=self._show,
            kib_per_second=kit.config.limits.download_kib_per_second,
            disk=kit.disk,
        )
        verifier = Verifier(
            order=order,
            trust_file=kit.trust_file,
            floor=orders.floor_of(kit),
            running_seq=kit.release.seq,
            may_go_below=self.attempt.may_go_below,
        )
        self._enter("preflight")
        self._look()
        if not kit.trust_file.load().root_keys:
            text = "This host was enrolled when its server had no root keys. Enrol it again from its page."
            raise Refused("no_trust", text)
        papers = fetcher.papers(order.manifest_sha256)
        # Early, so that what may never run stops no backup; and once more when all of it is here.
        artifact, guard_min = self._judge(verifier, papers, order)
        preflight.check_guard(kit.host, guard_min)
        preflight.check_space(kit.host, artifact.size)
        self._drain()
        self._download(fetcher, verifier, papers, order, artifact)

    def _judge(self, verifier: Verifier, papers: Papers, order: CommandUpdate) -> tuple[Artifact, int]:
        manifest, artifact = verifier.papers(
            papers, now=self._kit.clock.now(), not_after=instants.from_text(order.not_after)
        )
        return artifact, manifest.guard_min

    def _look(self) -> None:
        preflight.in_time(lambda: preflight.look(self._kit.host), wait=self._wait)

    def _drain(self) -> None:
        self._enter("draining")
        jobs = self._kit.jobs
        jobs.hold()
        until = time.monotonic() + self._timers.drain_seconds
        while busy := jobs.busy_with():
            self._show(None, f"Waiting for job {busy} to end; none is interrupted.")
            if time.monotonic() >= until:
                text = f"Job {busy} still ran after {self._timers.drain_seconds} s. The server asks again later."
                raise Deferred("busy", text)
            jobs.wait_for_end(1.0)
            self._wait(0)

    def _download(
        self, fetcher: Fetcher, verifier: Verifier, papers: Papers, order: CommandUpdate, artifact: Artifact
    ) -> None:
        places, disk = self._kit.places, self._kit.disk
        self._enter("downloading", f"{artifact.size} bytes")
        if not self.attempt.has_part:
            # What another attempt left may be of another file.
            places.clear(disk)
            self._note(has_part=True)
        disk.unlink(places.new)
        fetcher.artifact(artifact, places.part, seconds=self._timers.download_seconds)
        self._enter("verifying", f"release {order.version} ({order.seq}), sha256 {artifact.sha256}")
        again, _ = self._judge(verifier, papers, order)
        verifier.file(places.part, again)
        swap.stage(disk, places.part, places)

    def _stage_old(self) -> None:
        places = self._kit.places
        self._enter("verifying", f"the release before: sha256 {self.attempt.to_sha256}")
        if sha256(places.old, from_disk=True) != self.attempt.to_sha256:
            text = f"{places.old} is not the release that was kept, or is gone. Order an update instead."
            raise Failed("no_previous", text)
        swap.stage_old(self._kit.disk, places)

    def _selftest(self) -> None:
        self._enter("selftest")
        kit = self._kit
        candidate.selftest(
            kit.places.new,
            root=kit.root,
            expected=Expected(self.attempt.to_version, self.attempt.to_seq, self.attempt.to_sha256),
            own=kit.own_checks,
            wait=self._wait,
        )

    # ---- the fence -----------------------------------------------------------------------------------

    def _fence(self) -> None:
        """Returns once the server agrees, at this moment, that this host swaps."""
        connections = self._kit.connections
        while True:
            self._say("Asking the server whether to swap now.")
            answer = self._ask()
            if isinstance(answer, Ack):
                self._wait(0)
                return
            if isinstance(answer, Error) and answer.code != "try_later":
                raise Cancelled(answer.code, answer.detail or "The server no longer wants this update.")
            # Backups go first as long as nobody answers.
            seen = connections.count
            self._kit.jobs.release()
            self._show(None, "The server did not answer; it is asked again at the next connection.")
            self._say("The server did not answer; nothing was swapped. It is asked again at the next connection.")
            while connections.count == seen:
                self._wait_for_poke(self._seconds_left())
            self._drain()
            self._enter("selftest", "asking again")

    def _ask(self) -> Ack | Error | None:
        outgoing = self._kit.outgoing
        question = outgoing.ask(
            UpdateProgress(attempt_id=self.attempt.attempt_id, phase="swapping"), answered=self._answered
        )
        asked_at = time.monotonic()
        self._kit.wake()
        try:
            while question.answer is None:
                since = question.sent_at if question.sent_at is not None else asked_at
                left = since + self._answer_seconds - time.monotonic()
                if left <= 0:
                    break
                self._wait_for_poke(min(left, self._seconds_left()))
        finally:
            outgoing.withdraw(question)
        # Read after nobody can answer any more: an answer counts or it does not come.
        return question.answer

    def _answered(self, answer: Ack | Error) -> None:
        """In the thread of the connection: what comes after the answer finds it taken."""
        with self._lock:
            self._is_fenced = isinstance(answer, Ack) and not self._cancelled
        self._poked.set()

    def _seconds_left(self) -> float:
        """Until the order ends by the server's time; raises Cancelled after."""
        not_after = instants.from_text(self.attempt.order["not_after"])
        left = (not_after - self._kit.clock.now()).total_seconds()
        if left <= 0:
            raise Cancelled("order_expired", "The server did not allow the swap before the order ended.")
        return left

    # ---- waiting and telling -------------------------------------------------------------------------

    def _wait(self, seconds: float) -> None:
        """Raises Cancelled or Left as soon as one of them is meant."""
        if seconds > 0:
            self._ends.wait(seconds)
        if self._is_stopping:
            raise Left
        if self._cancelled:
            raise Cancelled("cancelled", self._cancelled)

    def _wait_for_poke(self, seconds: float) -> None:
        self._poked.wait(seconds)
        self._poked.clear()
        self._wait(0)

    def _note(self, **changed: object) -> None:
        self._kit.journal.note(**changed)
        self.attempt = self._kit.journal.attempt or self.attempt

    def _enter(self, phase: str, detail: str = "") -> None:
        self._wait(0)
        self.phase = phase
        self._note(phase=phase)
        self._say(f"{phase}{': ' if detail else ''}{detail}")
        self._shown = (None, detail)
        self._send()

    def _say(self, text: str) -> None:
        log.info("Update %s: %s", self.attempt.attempt_id, text)
        self._book.write("agent", text)
        self._book.flush()

    def _show(self, percent: float | None, detail: str) -> None:
        self._shown = (percent, detail)
        if time.monotonic() - self._shown_at >= SHOW_SECONDS:
            self._send()

    def _send(self) -> None:
        self._shown_at = time.monotonic()
        percent, detail = self._shown
        found = UpdateProgress(
            attempt_id=self.attempt.attempt_id, phase=self.phase, percent=percent, detail=detail[:2000]
        )
        self._kit.outgoing.progress(found, key=f"{self.attempt.attempt_id} {self.phase}")
        self._kit.wake()

    def _beat(self) -> None:
        while not self._done.wait(PROGRESS_SECONDS):
            if not self._is_fenced:
                self._send()
