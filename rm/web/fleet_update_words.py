"""What to say of a fleet update: its sentence, its state line, its waves, and each of its hosts."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rm.domain.fleet_options import STRICT
from rm.domain.fleet_plan import CANARY_WAVE
from rm.shared.words import counted
from rm.store.models import FleetUpdate, FleetUpdateHost, Host, UpdateAttempt
from rm.web import filters, update_words
from rm.web.update_words import Steps

STATES = {
    "planned": ("queue", "Planned"),
    "running": ("running", "Running"),
    "paused": ("paused", "Paused"),
    "halted": ("failed", "Halted"),
    "cancelling": ("waiting", "Being cancelled"),
    "cancelled": ("skip", "Cancelled"),
    "completed": ("ok", "Completed"),
    "completed_with_exceptions": ("warning", "Completed with exceptions"),
}
HOST_STATES = {
    "waiting": ("queue", "Waiting"),
    "updating": ("running", "Updating"),
    "soaking": ("running", "Soaking"),
    "passed_over": ("waiting", "Passed over"),
    "succeeded": ("ok", "Updated"),
    "failed": ("failed", "Failed"),
    "skipped": ("skip", "Skipped"),
    "excluded": ("skip", "Left out"),
}
VERDICTS = {
    "will_update": ("ok", "Will update"),
    "offline": ("offline", "Offline, waits"),
    "current": ("skip", "Current"),
    "ahead": ("info", "Ahead"),
    "pinned": ("skip", "Pinned"),
    "held": ("paused", "Held"),
    "no_artifact": ("skip", "No artifact"),
    "known_bad": ("warning", "Known bad"),
    "guard_too_old": ("warning", "Guard too old"),
    "revoked": ("skip", "Revoked"),
    "no_release": ("skip", "No release"),
}
GROUPS = {
    "now": "In progress", "failed": "Failed", "next": "Waiting", "done": "Updated", "out": "Not updated",
}  # fmt: skip
TICKS = {
    "succeeded": "o", "updating": "l", "soaking": "l", "failed": "f", "waiting": "t", "passed_over": "z",
    "skipped": "s", "excluded": "s",
}  # fmt: skip
OVER = ("succeeded", "failed", "skipped", "excluded")
MOST_TICKS = 240
WIDEST = 4


@dataclass(frozen=True)
class Said:
    """The page's sentence: text, the part that matters, the rest, and what else to know."""

    kind: str
    icon: str
    text: str
    emphasis: str = ""
    tail: str = ""
    more: str = ""


@dataclass(frozen=True)
class HostLine:
    """One host of a fleet update as its row shows it."""

    host: Host
    kind: str
    word: str
    since: datetime
    old: str
    new: str
    wave_word: str
    next: str
    is_over: bool
    may_be_skipped: bool = False
    deadline: datetime | None = None
    deadline_note: str = ""
    message: str = ""
    steps: Steps | None = None
    took: str = ""
    job_id: str = ""


@dataclass(frozen=True)
class Wave:
    """A group of ticks; `width` is its share of the line, from 1 to 4."""

    word: str
    codes: str
    width: int
    note: str
    said: str
    is_now: bool


def wave_word(wave: int, waves: Iterable[int]) -> str:
    """What a wave is called; empty where all hosts are in one."""
    if wave < 0:
        return ""
    if wave == CANARY_WAVE:
        return "Canary"
    return f"Wave {wave}" if len([one for one in waves if one >= 0]) > 1 else ""


def host_line(
    row: FleetUpdateHost, attempt: UpdateAttempt | None, *, to_version: str, waves: Iterable[int], is_online: bool,
    explained: str,
) -> HostLine:  # fmt: skip
    """What to say of one host; `explained` is why it is not being updated now, if it is not."""
    host = row.host
    kind, word = HOST_STATES[row.state]
    common: dict[str, Any] = {
        "host": host, "wave_word": wave_word(row.wave, waves), "is_over": row.state in OVER, "since": row.changed_at,
        "old": host.agent_version or "unknown", "new": to_version, "next": explained, "kind": kind, "word": word,
        "may_be_skipped": row.state in ("waiting", "passed_over", "failed")
        and (attempt is None or attempt.state in update_words.ENDED),
    }  # fmt: skip
    if row.state == "excluded":
        kind, word = VERDICTS.get(row.verdict, HOST_STATES["excluded"])
        new = host.agent_version or "unknown"
        return HostLine(**common | {"kind": kind, "word": word, "new": new, "old": new})
    if row.state == "waiting" and not is_online:
        common |= {"kind": "offline", "word": "Offline"}
    if attempt is None:
        return HostLine(**common)
    common |= {"job_id": attempt.job_id, "old": attempt.from_version or "unknown", "new": attempt.to_version}
    steps = update_words.steps(attempt)
    if row.state in ("updating", "soaking") or (row.state == "passed_over" and attempt.state not in update_words.ENDED):
        line = update_words.state_line(attempt, host, is_online=is_online)
        return HostLine(**common | {
            "kind": line.kind, "word": line.word, "since": line.since, "deadline": line.deadline,
            "deadline_note": line.deadline_note, "next": line.next, "message": line.message, "steps": steps,
        })  # fmt: skip
    if row.state in ("succeeded", "failed"):
        kind, word = update_words.state(attempt)
        if row.state == "succeeded":
            kind, word = HOST_STATES["succeeded"]
        qualified = ", ".join(label.word.lower() for label in update_words.labels(attempt) if label.word in _QUALIFIES)
        took = filters.duration(attempt.ended_at - attempt.created_at) if attempt.ended_at else ""
        return HostLine(**common | {
            "kind": kind, "word": f"{word}, {qualified}" if qualified else word, "steps": steps,
            "took": f"took {took}" if took and row.state == "succeeded" else "",
            "next": attempt.message or row.reason or explained,
        })  # fmt: skip
    return HostLine(**common)


_QUALIFIES = ("Provisional", "Late", "Not proven")


def waves(counts: list[tuple[int, str, int]], *, is_plan: bool = False) -> tuple[list[Wave], int]:
    """The groups of ticks in their order, and for how many hosts a tick stands."""
    total = sum(count for _, _, count in counts)
    hosts_a_tick = max(1, -(-total // MOST_TICKS))
    by_wave: dict[int, dict[str, int]] = {}
    for wave, state, count in counts:
        by_wave.setdefault(wave if state != "excluded" else -1, {})[state] = (
            by_wave.get(wave if state != "excluded" else -1, {}).get(state, 0) + count
        )
    order = sorted(by_wave, key=lambda wave: (wave < 0, wave))
    most = max((sum(states.values()) for states in by_wave.values()), default=1)
    at_work = next((wave for wave in order if wave >= 0 and any(s not in OVER for s in by_wave[wave])), None)
    found = []
    for wave in order:
        states = by_wave[wave]
        size = sum(states.values())
        codes = "".join(
            TICKS[state] * max(1, round(states[state] / hosts_a_tick)) for state in TICKS if states.get(state)
        )
        word = wave_word(wave, by_wave) or ("Left out" if wave < 0 else "All hosts")
        done = states.get("succeeded", 0)
        said = ", ".join(f"{states[state]:,} {HOST_STATES[state][1].lower()}" for state in TICKS if states.get(state))
        note = f"{size:,}" if wave < 0 or is_plan else "done" if done == size else f"{done:,} of {size:,}"
        width = max(1, round(WIDEST * size / most))
        found.append(Wave(word, codes, width, note, said, wave == at_work and not is_plan))
    return found, hosts_a_tick


def counted_words(counts: dict[str, int]) -> str:
    """4 done · 1 in progress · 5 waiting · 1 failed · 1 not updated"""
    groups = (
        ("updated", ("succeeded",)), ("in progress", ("updating", "soaking")), ("waiting", ("waiting", "passed_over")),
        ("failed", ("failed",)), ("skipped", ("skipped",)), ("left out", ("excluded",)),
    )  # fmt: skip
    found = [(sum(counts.get(state, 0) for state in states), word) for word, states in groups]
    return " · ".join(f"{count:,} {word}" for count, word in found if count)


def in_scope(counts: dict[str, int]) -> int:
    """How many hosts it is about: those that the plan left out are not."""
    return sum(count for state, count in counts.items() if state != "excluded")


def sentence(update: FleetUpdate, counts: dict[str, int], *, names: list[str], halted: Host | None) -> Said:
    """What is so. `names` are the first hosts in progress."""
    total, done, new = in_scope(counts), counts.get("succeeded", 0), update.to_version
    progress = f"{done:,} of {total:,} hosts {'runs' if done == 1 else 'run'} agent {new}."
    failed = counts.get("failed", 0)
    so_far = "No host has failed." if not failed else f"{counted(failed, 'host')} failed."
    if update.state == "running":
        busy = ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")
        tail = f"{'is' if len(names) == 1 else 'are'} being updated." if names else ""
        return Said("running", "up", progress, busy, tail, so_far)
    if update.state == "paused":
        return Said("warning", "pause", f"Paused: {progress}", "", "", _sentence(update.reason))
    if update.state == "halted":
        rest = f"{progress} The others were left as they are."
        if halted is None:
            return Said("failed", "failed", "Halted.", _sentence(update.reason), "", rest)
        return Said("failed", "failed", "Halted.", halted.name, f"did not come to run {new}.", rest)
    if update.state == "cancelling":
        return Said("warning", "stop", f"Being cancelled: {progress}", "", "", "No other host starts.")
    if update.state == "cancelled":
        return Said("cancelled", "skip", f"Cancelled: {progress}", "", "", _sentence(update.reason))
    if update.state == "completed":
        text = f"All {total:,} hosts run agent {new}." if total != 1 else f"The only host runs agent {new}."
        return Said("ok", "ok", text if total else f"No host had to be updated to {new}.", more="No host has failed.")
    if update.state == "completed_with_exceptions":
        rest = total - done
        return Said(
            "warning", "warning", progress, f"{counted(rest, 'host')}", "does not." if rest == 1 else "do not.", so_far
        )
    return Said("running", "queue", f"Planned: {progress}")


def _sentence(reason: str) -> str:
    text = reason.strip()
    return text if not text or text[-1] in ".!?" else f"{text}."


def policy_words(options: dict[str, Any]) -> str:
    """The failure policy in words."""
    policy = options.get("failure_policy", STRICT)
    if not isinstance(policy, dict):
        return "halts at the first failure"
    budget = policy.get("budget", 0)
    return f"halts when more than {budget}{'' if isinstance(budget, str) else ' hosts'} fail"


def policy_sentence(update: FleetUpdate) -> str:
    """What a failure would mean now."""
    if update.state == "running":
        words = policy_words(update.options)
        return f"It {words}."
    return ""


def order_words(options: dict[str, Any]) -> str:
    """The order in words: "canaries, then waves of 10% and 50%, 5 at a time"."""
    canaries, shares, most = options.get("canaries"), options.get("waves") or [], options.get("max_in_flight", 1)
    parts = []
    if canaries == "per_platform":
        parts.append("one canary of each platform")
    elif canaries:
        parts.append(counted(canaries if isinstance(canaries, int) else len(canaries), "canary", "canaries"))
    if shares:
        parts.append(f"waves of {', '.join(str(share) for share in shares)} and the rest")
    if not parts:
        parts.append("no waves")
    return f"{', then '.join(parts)}; {'one' if most == 1 else most} at a time"
