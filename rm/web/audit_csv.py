"""The audit log as CSV, piece by piece, safe to open in a spreadsheet."""

import csv
import io
import json
from collections.abc import Iterator

from rm.shared import instants
from rm.store import audit
from rm.store.audit import Filters
from rm.store.database import connection
from rm.store.models import AuditEntry

HEAD = ("id", "at", "actor_kind", "actor_id", "actor_name", "address", "action", "target_kind", "target_id",
        "target_name", "payload")  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\N{FULLWIDTH EQUALS SIGN}", "\N{FULLWIDTH PLUS SIGN}",
           "\N{FULLWIDTH HYPHEN-MINUS}", "\N{FULLWIDTH COMMERCIAL AT}")  # fmt: skip
"""What makes a spreadsheet take a cell for a formula."""


def lines(filters: Filters) -> Iterator[str]:
    """All entries that fit; no connection is held while the reader takes a piece."""
    yield _written([HEAD])
    pieces = audit.each(filters)
    while True:
        with connection():
            entries = next(pieces, None)
        if entries is None:
            return
        if entries:
            yield _written([_row(entry) for entry in entries])


def cell(value: object) -> str:
    """A value that a spreadsheet shows and does not carry out."""
    text = str(value).replace("\x00", "").encode("utf-8", "replace").decode()
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA) else text


def _row(entry: AuditEntry) -> tuple[str, ...]:
    payload = json.dumps(entry.payload, ensure_ascii=False, separators=(",", ":"))
    return (
        str(entry.id), instants.to_text(entry.at),
        *(cell(one) for one in (
            entry.actor_kind, entry.actor_id, entry.actor_name, entry.address, entry.action, entry.target_kind,
            entry.target_id, entry.target_name, payload,
        )),
    )  # fmt: skip


def _written(rows: list[tuple[str, ...]]) -> str:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue()
