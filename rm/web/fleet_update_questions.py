"""What can be done with a fleet update in each of its states, and what is asked before."""

from collections.abc import Mapping
from dataclasses import dataclass

from rm.domain.fleet_judgement import drains
from rm.domain.fleet_state import Fleet
from rm.domain.fleet_update import is_only_offline_left
from rm.shared.words import counted
from rm.store.models import FleetUpdate, Host
from rm.web import filters
from rm.web.questions import Question

SECONDS_A_ROLLBACK = 65
UPDATED = ("succeeded", "soaking")


@dataclass(frozen=True)
class Action:
    """A button; with a dialog it is a link to the page that asks the same."""

    word: str
    icon: str
    href: str
    look: str = ""
    dialog: str = ""
    is_link: bool = False


@dataclass(frozen=True)
class Decision:
    """One way to go on after a halt."""

    id: str
    icon: str
    title: str
    text: str
    word: str
    href: str
    dialog: str
    look: str = ""


def actions(update: FleetUpdate, counts: Mapping[str, int], fleet: Fleet) -> list[Action]:
    """The buttons beside the sentence."""
    path = f"/settings/fleet-update/{update.id}"
    cancel = Action("Cancel", "stop", f"{path}/cancel", "danger", "cancel-fleet")
    closing = [Action("Close now", "close", f"{path}/close", "", "close-fleet")] if _is_closable(fleet) else []
    if update.state == "running":
        return [*closing, Action("Pause", "pause", f"{path}/pause"), cancel]
    if update.state == "paused":
        return [Action("Resume", "play", f"{path}/resume", "primary"), *closing, cancel]
    if update.state == "halted":
        return closing
    if update.state == "cancelling" and not (fleet.is_hard_cancel or fleet.is_rolling_back):
        return [Action("Stop at once", "stop", f"{path}/cancel?mode=hard", "danger", "cancel-fleet")]
    if update.state == "cancelling":
        return []
    return [Action("Plan another", "up", "/settings/fleet-update", is_link=True)]


def decisions(
    update: FleetUpdate, counts: Mapping[str, int], fleet: Fleet, halted: Host | None
) -> list[Decision]:  # fmt: skip
    """The ways to go on; none while it goes on by itself."""
    failed, updated = counts.get("failed", 0), sum(counts.get(state, 0) for state in UPDATED)
    if update.state != "halted" and not (update.state == "paused" and failed):
        return []
    path = f"/settings/fleet-update/{update.id}"
    which = halted.name if halted is not None and failed == 1 else counted(failed, "failed host")
    left = sum(counts.get(state, 0) for state in ("waiting", "passed_over"))
    rest = f"{counted(left, 'host')} still {'waits' if left == 1 else 'wait'}." if left else "No other host waits."
    found = []
    if failed:
        found += [
            Decision(
                "retry", "retry", f"Retry {which}", "The same release, the same checks, a new attempt. "
                "Useful once the cause is gone.", "Retry", f"{path}/retry-failed", "retry-fleet",
            ),
            Decision(
                "skip", "right", f"Continue without {which}",
                f"It keeps the agent that it runs now, and its backups go on. {rest}", "Continue without",
                f"{path}/skip", "skip-fleet", "primary",
            ),
        ]  # fmt: skip
    elif update.state == "halted":
        found.append(Decision(
            "resume", "play", "Go on", f"Nothing failed for good. {rest}", "Go on", f"{path}/resume", "resume-fleet",
            "primary",
        ))  # fmt: skip
    if updated:
        took = filters.duration(updated * SECONDS_A_ROLLBACK)
        found.append(Decision(
            "rollback", "rollback", f"Roll back the {counted(updated, 'updated host')}",
            f"Each goes back to the agent it ran before, one at a time, the newest first: about {took}.",
            f"Roll back {counted(updated, 'host')}", f"{path}/rollback", "rollback-fleet", "danger",
        ))  # fmt: skip
    if update.state == "halted":
        found.append(Decision(
            "cancel", "close", "Close it as it is",
            f"{counted(updated, 'host')} on {update.to_version}, the rest as before. "
            "Another fleet update can be started then.",
            "Close", f"{path}/cancel", "cancel-fleet",
        ))  # fmt: skip
    return found


def dialogs(update: FleetUpdate, counts: Mapping[str, int], fleet: Fleet) -> list[Question]:
    """Every question that the page may ask in this state."""
    if update.state in ("running", "paused", "halted", "cancelling"):
        found = [cancel(update, counts, fleet), close(update, counts)]
        if update.state != "cancelling":
            found += [
                retry(update, counts), skip(update, counts), roll_back(update, counts), resume(update, counts),
            ]  # fmt: skip
        return found
    return []


def cancel(update: FleetUpdate, counts: Mapping[str, int], fleet: Fleet, *, mode: str = "soft") -> Question:
    """Before the end of it: after the current hosts, or at once."""
    busy = [one.name for one in fleet.members if one.state in ("updating", "soaking") or drains(one.attempt)]
    names = ", ".join(busy[:3]) + (" …" if len(busy) > 3 else "")
    finishes = f"{names} {'finishes or returns by itself' if len(busy) == 1 else 'finish or return by themselves'}."
    return Question(
        "cancel-fleet", f"Cancel the fleet update to {update.to_version}", f"{_path(update)}/cancel", "Cancel update",
        (
            "No other host starts.",
            *_stay(update, counts),
            "Another fleet update can be started for the rest at any time.",
        ),
        ask={
            "choices": [
                ("soft", "After the current hosts", finishes if busy else "No host is being updated now."),
                ("hard", "At once", "What has not begun to swap is taken back; what has, finishes or returns."),
            ],
            "chosen": mode if update.state != "cancelling" else "hard",
            "reason": "Why (optional)", "is_optional": True, "keep": "Let it go on",
        },
    )  # fmt: skip


def close(update: FleetUpdate, counts: Mapping[str, int]) -> Question:
    """Before a run is closed that only waits for hosts that are offline."""
    left = counts.get("waiting", 0) + counts.get("passed_over", 0)
    return Question(
        "close-fleet", f"Close the fleet update to {update.to_version}", f"{_path(update)}/close", "Close it",
        (f"{counted(left, 'host')} offline: they keep the agent that they run, and can be updated later.",),
        ask={"reason": "Why (optional)", "is_optional": True, "keep": "Go on waiting", "is_harmless": True},
    )  # fmt: skip


def retry(update: FleetUpdate, counts: Mapping[str, int]) -> Question:
    """Before what failed is tried again."""
    return Question(
        "retry-fleet", f"Retry {counted(counts.get('failed', 0), 'failed host')}", f"{_path(update)}/retry-failed",
        "Retry", ("Each gets a new attempt with the same release.", "Then the fleet update goes on with the others."),
        ask={"reason": "What was mended (optional)", "is_optional": True, "keep": "Not now", "is_harmless": True},
    )  # fmt: skip


def skip(update: FleetUpdate, counts: Mapping[str, int], *, host: Host | None = None) -> Question:
    """Before hosts are left out: those that failed, or the one that is named."""
    who = host.name if host is not None else counted(counts.get("failed", 0), "failed host")
    return Question(
        "skip-fleet", f"Continue without {who}", f"{_path(update)}/skip", "Continue without",
        ("It stays with the agent that it runs now.", "It can be updated later, alone or with the next fleet update."),
        ask={
            "reason": "Why", "keep": "Not now", "is_harmless": True,
            "hidden": {"host": host.id} if host is not None else {},
        },
    )  # fmt: skip


def roll_back(update: FleetUpdate, counts: Mapping[str, int]) -> Question:
    """Before the updated hosts go back."""
    updated = sum(counts.get(state, 0) for state in UPDATED)
    return Question(
        "rollback-fleet", f"Roll back {counted(updated, 'host')}", f"{_path(update)}/rollback", "Roll back",
        (
            "Each restarts once, the newest first, one at a time.",
            "What has not begun to swap is taken back.",
            "The fleet update ends with that.",
        ),
        typed=f"roll back {updated}", ask={"reason": "Why", "keep": "Leave them"},
    )  # fmt: skip


def resume(update: FleetUpdate, counts: Mapping[str, int]) -> Question:
    """Before a halted fleet update goes on."""
    return Question(
        "resume-fleet", f"Go on with the fleet update to {update.to_version}", f"{_path(update)}/resume", "Go on",
        ("The next host starts as the plan says.",),
        ask={"reason": "Why (optional)", "is_optional": True, "keep": "Not now", "is_harmless": True},
    )  # fmt: skip


def _is_closable(fleet: Fleet) -> bool:
    return is_only_offline_left(fleet.members)


def _stay(update: FleetUpdate, counts: Mapping[str, int]) -> tuple[str, ...]:
    """What becomes of the hosts that are done; nothing where there is none."""
    done = counts.get("succeeded", 0)
    if not done:
        return ()
    if done == 1:
        return (f"The one host on {update.to_version} stays as it is.",)
    return (f"{counted(done, 'host')} on {update.to_version} stay as they are.",)


def _path(update: FleetUpdate) -> str:
    return f"/settings/fleet-update/{update.id}"
