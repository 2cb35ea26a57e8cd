"""Writes docs/reference/metrics.md from rm/domain/figures.py; a test checks that the page is current."""

import sys
from pathlib import Path

from rm.domain.figures import JOB_SECONDS, SECTIONS, Figure

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference" / "metrics.md"

_INTRODUCTION = """# Metrics

*Generated from `rm/domain/figures.py` by `make docs`; edit that module, not this page.*

`/metrics` answers Prometheus in its text format and in OpenMetrics. It is off until a token or a network may read it:
[Monitoring](../operations/monitoring.md) says how. Figures are read from the database for each scrape, so a restart
loses none of them.
"""

_NOTES = f"""
## The process

`process_…` and `python_…` are those that every Python program with prometheus-client has: processor time, memory, open
files, start time, the collector of garbage.

## What holds of them

**Labels.** A host is named by `host`, as people read it, and by `host_id`, which is unique and stays when it is
renamed: join on `host_id`. A repository is named by `repository`, which is unique. Names come from hosts and people;
whatever is in them is escaped.

**How many series.** About ten for each host with one source group, six for each repository, and a few hundred besides.
Words that hosts make up are bounded: after a hundred versions, and a hundred results of updates, the rest counts as
`other`. Revoked hosts are counted in `restic_manager_hosts`, and have no series of their own.

**Times** are Unix time in seconds. 0 means never, so that `time() - …` of what never happened is large and rules fire;
the figures that are absent instead say so.

**Counters** never go down while a database is in use: they are kept totals, to which ends of jobs and updates, raised
alerts and sent notifications add. Removing a host, or old history, takes nothing away. Two things reset them, which
Prometheus understands: a new database, and one restored from a backup. What happened before this server kept totals was
counted once, when it was upgraded, from the rows that were still there.

**Durations** are cut at {", ".join(f"{edge:,}" for edge in JOB_SECONDS)} seconds.

**Freshness.** Scrapes within five seconds of each other get the same figures;
`restic_manager_metrics_read_timestamp_seconds` says when they were read. A large fleet is read in slices, so hosts in
one answer may be read a few hundred milliseconds apart.
"""


def page() -> str:
    """The whole page."""
    parts = [_INTRODUCTION]
    for section in SECTIONS:
        parts.append(f"\n## {section.title}\n\n| figure | kind | labels | |\n|---|---|---|---|\n")
        parts += [_row(figure) for figure in section.figures]
    return "".join(parts) + _NOTES


def _row(figure: Figure) -> str:
    labels = ", ".join(f"`{label}`" for label in figure.labels) or "–"
    return f"| `{figure.full_name}` | {figure.kind} | {labels} | {figure.help} |\n"


def main() -> None:
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}", file=sys.stderr)


if __name__ == "__main__":
    main()
