"""How long the server keeps its history: each kind with its limit, and what is never removed."""

from dataclasses import dataclass

from rm.errors import Invalid

MIN_DAYS, MAX_DAYS = 1, 3650
KEEP_JOBS_PER_HOST = 50
"""The newest jobs of each host stay, however old: its page and its verdict speak of them."""


@dataclass(frozen=True)
class Kind:
    """One kind of history: `days` is the default; `least` is the fewest that can be set."""

    name: str
    title: str
    text: str
    days: int
    least: int = MIN_DAYS


KINDS = (
    Kind("job_logs", "Logs of jobs", "Lines and throughput of a job. The job, with its result, stays longer.", 90),
    Kind(
        "jobs",
        "Finished jobs",
        f"Jobs with their result. The newest {KEEP_JOBS_PER_HOST} of each host stay, and so do the last "
        "backup of each source group and the last good one.",
        400,
        least=35,
    ),
    Kind("skipped_runs", "Runs that did not take place", "With the reason that the host gave.", 180, least=7),
    Kind("incidents", "Resolved incidents", "With their alerts, timeline and what was told of them.", 400, least=7),
    Kind("deliveries", "Sent notifications", "The delivery log of channels.", 90),
    Kind("update_events", "Steps of ended updates", "What each host did during an update; its result stays.", 180, 7),
    Kind("backup_days", "Counts per day", "What the strips of nights are drawn from, and repository sizes.", 800, 35),
)
BY_NAME = {kind.name: kind for kind in KINDS}


def defaults() -> dict[str, int]:
    return {kind.name: kind.days for kind in KINDS}


def checked(days: dict[str, int]) -> dict[str, int]:
    """These limits, one for each kind; raises Invalid."""
    wrong = {
        kind.name: f"Between {kind.least} and {MAX_DAYS:,} days."
        for kind in KINDS
        if not kind.least <= days.get(kind.name, kind.days) <= MAX_DAYS
    }
    if days.get("job_logs", 0) > days.get("jobs", MAX_DAYS) and not wrong:
        wrong["job_logs"] = "A log cannot stay longer than its job."
    if wrong:
        raise Invalid(wrong)
    return {kind.name: days.get(kind.name, kind.days) for kind in KINDS}
