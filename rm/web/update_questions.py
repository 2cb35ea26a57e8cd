"""What is asked before a host's agent is changed."""

from rm.domain.update_timing import REVERT_SECONDS
from rm.store import jobs, releases, updates
from rm.store.models import Host
from rm.web.job_view import CANCEL_POINTS
from rm.web.questions import Question


def update(host: Host, *, is_forced: bool = False) -> Question:
    """Before an update to the current release."""
    release = releases.current()
    new = release.version if release is not None else "the current release"
    running = [job for job in jobs.open_for_host(host.id) if job.state == "running" and job.kind != "update"]
    busy = f"A {running[0].kind} runs there; it ends first." if running else "No job is interrupted; new ones wait."
    points = (
        f"From {host.agent_version or 'its present agent'} to {new}. {busy}",
        "The host checks signature, sequence and hash itself, and lets the new agent test itself before it swaps.",
        f"If the new agent does not say hello within {REVERT_SECONDS} s, the host goes back by itself.",
    )
    action = f"/hosts/{host.id}/update"
    if is_forced:
        return Question(
            "force-update", f"Update {host.name} all the same", action, "Update all the same",
            ("It came back from this very file before.", *points),
            ask={"reason": "Why it is tried again", "hidden": {"force": "1"}, "keep": "Not now"},
        )  # fmt: skip
    return Question(
        "update-agent", f"Update the agent on {host.name}", action, "Update agent", points,
        ask={"keep": "Not now", "is_harmless": True},
    )  # fmt: skip


def roll_back(host: Host) -> Question:
    """Before the previous agent is put back."""
    return Question(
        "roll-back", f"Roll back the agent on {host.name}", f"/hosts/{host.id}/roll-back", "Roll back",
        (
            "The agent that ran before the last update is on the host; nothing is downloaded.",
            "It restarts once. Schedules go on; what it wrote meanwhile stays readable.",
            "If the old agent does not say hello, the present one is put back.",
        ),
        ask={"reason": "Why it is rolled back", "keep": "Leave it"},
    )  # fmt: skip


def hold(host: Host) -> Question:
    """Before a host is kept from being updated."""
    return Question(
        "hold-host", f"Hold {host.name}", f"/hosts/{host.id}/hold", "Hold it",
        (
            "It is not updated, alone or with the fleet, until an administrator releases it.",
            "An update that has not swapped yet is cancelled. Backups go on.",
        ),
        ask={"reason": "Why it is held", "keep": "Leave it", "is_harmless": True},
    )  # fmt: skip


def cancel(job_id: str) -> Question:
    """Before an update is given up."""
    points = CANCEL_POINTS["update"]
    return Question("cancel-job", "Cancel this update", f"/jobs/{job_id}/cancel", "Cancel update", points)


def for_host(host: Host, *, may_order: bool, may_cancel: bool) -> list[Question]:
    """The dialogs of a host's page; whether there is a button for each is the card's business."""
    found = [update(host), roll_back(host)] if may_order else []
    attempt = updates.open_for_host(host.id)
    if attempt is not None and may_cancel:
        found.append(cancel(attempt.job_id))
    return found
