"""The hooks of one backup: the one before may forbid it, the one after runs whatever became of it."""

import dataclasses
import threading
from collections.abc import Callable

from agent import hook_run
from agent.hook_run import HookRun
from agent.hooks import HookRefused
from agent.job import Job, Verdict


class JobHooks:
    """Runs what the order's group says, in this life of the agent or after a crash."""

    def __init__(self, job: Job, wake: threading.Event, *, starts: Callable[[], None]) -> None:
        self._job = job
        self._wake = wake
        self._starts = starts
        self._is_before_done = False

    def before(self) -> Verdict | None:
        """Run the hook before the backup, once; the verdict when the backup must not be started."""
        job, group = self._job, self._job.order.group
        if job.order.kind != "backup" or group is None or self._is_before_done:
            return None
        try:
            call = job.around.hooks.call(group, "pre")
        except HookRefused as refused:
            return self._forbids(str(refused))
        if call is None and not (group.post_hook or job.around.hooks.has_shell(group, "post")):
            return None
        self._starts()
        try:
            job.directory.note_hooks_due()
        except OSError as error:
            return self._forbids(f"The agent cannot write down that a hook begins ({error.strerror}).")
        if call is not None:
            end = HookRun(job, self._wake, phase="pre", call=call, seconds=group.hook_seconds).run()
            if end.was_cancelled:
                return job.ended_early("during the hook before the backup")
            if end.sentence:
                return self._forbids(end.sentence)
        self._is_before_done = True
        return job.ended_early("after the hook before the backup") if job.must_end() else None

    def after(self, verdict: Verdict) -> Verdict:
        """Run the hook after the backup if its turn has come, and bring a failure of it into the verdict."""
        job, group = self._job, self._job.order.group
        if group is None or not job.directory.are_hooks_due():
            return verdict
        hook_run.end_by_force(job.directory.hook("pre"))
        try:
            call = job.around.hooks.call(group, "post")
            if call is None:
                return verdict
            run = HookRun(job, self._wake, phase="post", call=call, seconds=group.hook_seconds)
            trouble = run.run(status=verdict.outcome, again=True).sentence
        except HookRefused as refused:
            trouble = str(refused)
        if not trouble:
            return verdict
        message = f"{verdict.message} {_capital(trouble)}"
        if verdict.outcome == "succeeded":
            return dataclasses.replace(verdict, outcome="warnings", reason="post_hook_failed", message=message)
        return dataclasses.replace(verdict, message=message)

    def _forbids(self, why: str) -> Verdict:
        self._starts()
        return Verdict("failed", "pre_hook_failed", f"{_capital(why)} The backup was not started.")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
