"""What a soak came to: the figures, the verdicts, and the files that keep them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.figures import number, quantile
from soak.course import Course
from soak.plot import draw
from soak.samples import Sample, is_calm, slopes
from soak.truth import Account

Json = dict[str, Any]
WAL_MB = 64.0


@dataclass(frozen=True)
class Bounds:
    """What ends a soak with an exit code of 1."""

    ack_p99_ms: float = 500
    page_p95_ms: float = 1000
    lag_p95_ms: float = 1500
    wal_mb: float = WAL_MB
    spare_files: int = 200


def broken(course: Course, account: Account, bounds: Bounds) -> list[str]:
    """A sentence for each bound that did not hold."""
    found = [f"{word}: {sentence}" for word in ("lost", "doubled") for sentence in getattr(account, word)[:5]]
    if account.unfinished:
        found.append(f"{account.unfinished} jobs never came to an end that was acknowledged")
    settled = calm(course.samples, course.events)
    for words, name, share, limit in (
        ("acknowledgements", "acks", 0.99, bounds.ack_p99_ms),
        ("pages", "pages", 0.95, bounds.page_p95_ms),
        ("streams", "lags", 0.95, bounds.lag_p95_ms),
    ):
        values = [ms for sample in settled for ms in getattr(sample, name)]
        if not values:
            found.append(f"no {words} were measured while nothing was done to the fleet")
        elif quantile(values, share) > limit:
            found.append(f"{words}: p{share * 100:.0f} was {quantile(values, share):.0f} ms, allowed are {limit:g}")
    files = max((sample.files or 0 for sample in course.samples), default=0)
    # a fifth of the sockets is dropped and dialled anew: for a moment the server has the old ones too
    hosts = course.plan.agents + 1
    allowed = hosts + hosts // 5 + course.plan.browsers + bounds.spare_files
    if files > allowed:
        found.append(f"the server had {files} open files; its hosts and tabs account for {allowed} at most")
    wal = max((sample.wal_mb or 0 for sample in course.samples), default=0)
    if wal > bounds.wal_mb:
        found.append(f"the write-ahead log grew to {wal:.0f} MB, allowed are {bounds.wal_mb:g}")
    if course.updated != course.plan.agents + 1:
        found.append(
            f"{course.updated} of {course.plan.agents + 1} hosts have the new release;"
            f" the fleet update is {course.update_ended}"
        )
    return found


def calm(samples: Sequence[Sample], events: Sequence[tuple[float, str]]) -> list[Sample]:
    """The samples of spans in which nothing was done to the fleet."""
    return [sample for sample in samples if sample.at > 60 and is_calm(sample.at, events)] or list(samples)


def as_json(course: Course, account: Account, problems: list[str], machine: Json) -> Json:
    """Everything, for bench/results/soak.json."""
    return {
        "plan": asdict(course.plan),
        "machine": machine,
        "account": account.as_json(),
        "orders": {"taken": course.orders, "refused": course.refused_orders},
        "pages_failed": course.failed_pages,
        "updated": course.updated,
        "slopes": {
            name: {str(life): asdict(one) for life, one in slopes(course.samples, name).items()}
            for name in ("pss_mb", "files", "wal_mb")
        },
        "problems": problems,
        "events": [[round(at, 1), words] for at, words in course.events],
        "samples": [sample.as_json() for sample in course.samples],
    }


def report(course: Course, account: Account, problems: list[str]) -> str:
    """The same in Markdown, for people."""
    settled = calm(course.samples, course.events)
    lines = [
        f"{course.plan.agents:,} hosts for {course.plan.minutes:g} minutes, {course.plan.browsers} open tabs.",
        "",
        "| | |",
        "|---|--:|",
        f"| results acknowledged | {account.reported:,} |",
        f"| log lines acknowledged | {account.lines:,} |",
        f"| lost | {len(account.lost)} |",
        f"| doubled | {len(account.doubled)} |",
        f"| ordered through the API | {course.orders:,} |",
        f"| hosts updated | {course.updated:,} of {course.plan.agents + 1:,} |",
    ]
    for words, name, shares in (
        ("acknowledgement", "acks", (0.5, 0.99)), ("page", "pages", (0.95,)), ("report to open tab", "lags", (0.95,))
    ):  # fmt: skip
        values = [ms for sample in settled for ms in getattr(sample, name)]
        lines += [f"| {words}, p{q * 100:.0f} | {number(quantile(values, q))} ms |" for q in shares if values]
    for words, name in (("open files", "files"), ("write-ahead log, MB", "wal_mb"), ("memory, MB", "pss_mb")):
        values = [getattr(sample, name) for sample in course.samples if getattr(sample, name) is not None]
        lines += [f"| {words}, at most | {number(max(values))} |"] if values else []
    for life, one in slopes(course.samples, "pss_mb").items():
        lines.append(
            f"| memory in life {life} of the server, {one.minutes:.1f} min"
            f" | {one.an_hour:+.1f} ± {one.error:.1f} MB/h |"
        )
    verdict = ["", "Every bound held."] if not problems else ["", "**Broken:**", "", *(f"- {one}" for one in problems)]
    return "\n".join(lines + verdict) + "\n"


def keep(directory: Path, content: Json, words: str) -> list[Path]:
    """Write soak.json, soak.md and soak.svg; returns where they are."""
    directory.mkdir(parents=True, exist_ok=True)
    plan = content["plan"]
    title = f"{plan['agents']:,} hosts at work for {plan['minutes']:g} minutes"
    events = [(at, what) for at, what in content["events"]]
    files = {
        "soak.json": json.dumps(content, indent=1, ensure_ascii=False) + "\n",
        "soak.md": words,
        "soak.svg": draw(content["samples"], events, title=title),
    }
    for name, text in files.items():
        (directory / name).write_text(text)
    return [directory / name for name in files]
