"""What to say of one attempt to update a host's agent: its phases, its state line, its result and what to do."""

from dataclasses import dataclass
from datetime import datetime

from rm.domain.update_attempt import ENDED, PHASES, ROLLBACK_PHASES
from rm.store.models import Host, UpdateAttempt
from rm.web import filters

WORDS = {
    "preflight": "Preflight", "draining": "Drain", "downloading": "Download", "verifying": "Verify",
    "selftest": "Self-test", "swapping": "Swap", "restarting": "Restart", "trial": "Trial", "soaking": "Soak",
}  # fmt: skip
# Phases that have no step of their own stand at the one that they lead to.
STANDS_AT = {"accepted": "preflight", "fence": "swapping"}
DOING = {
    "accepted": "Order accepted", "preflight": "Checking the host", "draining": "Waiting for a job",
    "downloading": "Downloading", "verifying": "Verifying", "selftest": "Testing itself", "fence": "Asking to swap",
    "swapping": "Swapping", "restarting": "Restarting", "trial": "On trial", "soaking": "Soaking",
}  # fmt: skip
CLASSES = {
    "release": "A fault of the release.",
    "integrity": "Not what was signed; that stops a fleet update at once.",
    "infrastructure": "The way to the host failed, not the release.",
    "host": "Something on this host, not the release.",
}


@dataclass(frozen=True)
class Steps:
    """The stepper: its words, how many are done, the look of the next one, and the same in words."""

    words: tuple[str, ...]
    done: int
    now: str
    said: str


@dataclass(frozen=True)
class StateLine:
    """State, since, deadline and what happens next, for an attempt that has not ended."""

    kind: str
    word: str
    since: datetime
    deadline: datetime | None
    deadline_note: str
    next: str
    detail: str
    message: str


@dataclass(frozen=True)
class Label:
    """A word that qualifies a verdict, and what it means."""

    kind: str
    word: str
    text: str


@dataclass(frozen=True)
class Result:
    """How an attempt ended."""

    kind: str
    word: str
    text: str


def steps(attempt: UpdateAttempt) -> Steps:
    """How far an attempt has come."""
    phases = ROLLBACK_PHASES if attempt.is_rollback else PHASES
    words = tuple(WORDS[phase] for phase in phases)
    if attempt.state == "succeeded" or attempt.phase == "committed":
        return Steps(words, len(words), "", "all phases done")
    reached = "soaking" if attempt.state == "soaking" else STANDS_AT.get(attempt.phase, attempt.phase)
    if attempt.state in ENDED and attempt.fenced_at is not None and reached == "swapping":
        # the swap was agreed to, and nothing was heard since: it is the way back that is missing
        reached = "restarting"
    if reached not in PHASES:
        return Steps(words, 0, "", "not begun" if attempt.state not in ENDED else "nothing was begun")
    order = PHASES.index(reached)
    done = sum(1 for phase in phases if PHASES.index(phase) < order)
    look = {"cancelled": "", "deferred": ""} | dict.fromkeys(("refused", "failed", "rolled_back", "lost"), "failed")
    return Steps(words, done, look.get(attempt.state, "now"), f"{words[done]}, {done + 1} of {len(words)}")


def state(attempt: UpdateAttempt, *, is_online: bool = True) -> tuple[str, str]:
    """The look and the word of an attempt's state."""
    if attempt.state in ENDED or attempt.state == "deferred":
        return _ending(attempt)
    if attempt.cancel_requested_at is not None and attempt.fenced_at is None:
        return "waiting", "Cancelling"
    if attempt.state == "queued":
        return ("queue", "Queued") if is_online else ("offline", "Waits for the host")
    if attempt.state == "dispatched":
        return "running", "Order sent"
    word = "Soaking" if attempt.state == "soaking" else DOING.get(attempt.phase, "Updating")
    if attempt.percent is not None and attempt.phase == "downloading":
        word = f"{word}, {filters.percent(attempt.percent)}"
    return "running", word


def _ending(attempt: UpdateAttempt) -> tuple[str, str]:
    if attempt.state == "succeeded":
        return "ok", "Rolled back" if attempt.is_rollback else "Updated"
    if attempt.state == "failed" and attempt.is_revert_failed:
        return "failed", "Failed, and could not return"
    return {
        "failed": ("failed", "Failed"),
        "rolled_back": ("rollback", "Returned by itself"),
        "refused": ("warning", "Refused by the host"),
        "deferred": ("waiting", "Put off"),
        "cancelled": ("skip", "Cancelled"),
        "lost": ("offline", "Lost"),
    }[attempt.state]


def state_line(attempt: UpdateAttempt, host: Host, *, is_online: bool) -> StateLine:
    """What to say of an attempt that has not ended."""
    kind, word = state(attempt, is_online=is_online)
    following, detail = what_is_next(attempt, host, is_online=is_online)
    deadline, note = deadline_of(attempt)
    return StateLine(
        kind, word, since_of(attempt), deadline, note, following, detail, attempt.detail or attempt.message
    )


def since_of(attempt: UpdateAttempt) -> datetime:
    if attempt.cancel_requested_at is not None and attempt.fenced_at is None:
        return attempt.cancel_requested_at
    return attempt.phase_since or attempt.created_at


def deadline_of(attempt: UpdateAttempt) -> tuple[datetime | None, str]:
    """The instant by which something must have happened, and what it is."""
    if attempt.state == "deferred":
        return (attempt.retry_at or attempt.not_after), "then it is tried again"
    if attempt.state == "queued":
        return attempt.not_after, "then the order lapses"
    if attempt.state == "soaking" and attempt.soak_until is not None:
        return attempt.soak_until, "then it is kept"
    if attempt.deadline_at is None:
        return None, ""
    if attempt.fenced_at is not None:
        return attempt.deadline_at, "for the hello"
    return attempt.deadline_at, "for the next sign of life"


def what_is_next(attempt: UpdateAttempt, host: Host, *, is_online: bool) -> tuple[str, str]:
    """What happens next, and what else is to be known."""
    name, old, new = host.name, attempt.from_version or "the old agent", attempt.to_version
    if attempt.cancel_requested_at is not None and attempt.fenced_at is None and attempt.state not in ENDED:
        return f"{name} gives it up at its next step.", "Once it has begun to swap, it finishes or returns by itself."
    if attempt.state == "queued":
        if not is_online:
            return f"Sent as soon as {name} connects.", "Nothing has reached the host yet."
        return f"Sent to {name} within seconds.", "Nothing has reached the host yet."
    if attempt.state == "deferred":
        return "Tried again by itself, with the same order.", "Nothing was changed on the host."
    if attempt.state == "dispatched":
        return f"{name} takes the order.", "Without a sign of life by the deadline it counts as failed."
    if attempt.state == "soaking" or attempt.phase == "soaking":
        return (
            f"If it stays healthy until then, {new} is kept.",
            f"If not, the host returns to {old} by itself.",
        )
    if attempt.fenced_at is not None or attempt.phase in ("swapping", "restarting", "trial"):
        revert = attempt.timers.get("revert_seconds") if isinstance(attempt.timers, dict) else None
        after = f" after {filters.duration(revert)}" if isinstance(revert, (int, float)) else ""
        return f"{new} starts and says hello.", f"If it does not, the host returns to {old} by itself{after}."
    if attempt.is_rollback:
        return _ROLLBACK_NEXT.get(attempt.phase, ("The host puts its previous agent back.", "No new job starts."))
    return _NEXT.get(attempt.phase, ("The host goes on with the next phase.", "Nothing was changed on it yet."))


_NEXT = {
    "accepted": ("The host checks itself: space, rights, service manager, guard.", "Nothing was changed on it yet."),
    "preflight": ("Then it waits for the job that runs, if there is one.", "Nothing was changed on it yet."),
    "draining": (
        "The running job ends first; a prune or a check is never interrupted.",
        "No new job starts meanwhile. If it takes too long, the update is put off.",
    ),
    "downloading": (
        "Then signature, sequence, size and hash are checked.", "A broken connection is resumed where it ended.",
    ),
    "verifying": ("Then the new agent tests itself beside the old one.", "Whatever does not match is refused."),
    "selftest": ("Then the host asks this server whether it may still swap.", "The old agent still runs."),
    "fence": ("It swaps if this server still agrees.", "The old agent still runs."),
}  # fmt: skip
_ROLLBACK_NEXT = {
    "draining": ("The running job ends first.", "No new job starts meanwhile."),
}


def result(attempt: UpdateAttempt, host: Host) -> Result:
    """How an attempt ended, in a sentence."""
    kind, word = state(attempt)
    return Result(kind, word, attempt.message or _fallback(attempt, host.name))


def _fallback(attempt: UpdateAttempt, name: str) -> str:
    old, new = attempt.from_version or "the old agent", attempt.to_version
    return {
        "succeeded": f"{name} runs {new}.",
        "failed": f"{name} did not come to run {new}.",
        "rolled_back": f"{name} tried {new} and returned to {old} by itself.",
        "refused": f"{name} refused {new} and still runs {old}.",
        "cancelled": f"Cancelled before anything was changed; {name} still runs {old}.",
        "lost": f"Nobody knows how this ended on {name}.",
    }[attempt.state]


def labels(attempt: UpdateAttempt) -> list[Label]:
    """What qualifies the verdict, in words."""
    found = []
    if attempt.is_provisional:
        found.append(Label(
            "warning", "Provisional", "A verdict from silence. It is corrected when the host reports what happened.",
        ))  # fmt: skip
    if attempt.is_late:
        found.append(Label("info", "Late", "The evidence came after a first verdict, which it corrected."))
    if attempt.state == "succeeded" and not attempt.is_proven:
        found.append(Label(
            "info", "Not proven", "The agent says its version, not the hash of the file that it runs.",
        ))  # fmt: skip
    if attempt.is_forced:
        reason = f" Reason: {attempt.force_reason}" if attempt.force_reason else ""
        found.append(Label("warning", "Forced", f"The list of known bad files was overruled.{reason}"))
    if attempt.failure_class and attempt.state in ENDED and attempt.state != "succeeded":
        found.append(Label("info", "Counted as", CLASSES[attempt.failure_class]))
    return found
