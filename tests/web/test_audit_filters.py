"""Filters, details and the file of the audit log; and that nobody, not even the database's owner, changes an entry."""

import csv
import io
from datetime import datetime, timedelta

import pytest

from rm.domain.actors import Actor
from rm.services import audit
from rm.store import audit as stored
from rm.store.audit import Filters
from rm.store.database import DatabaseError, db
from rm.store.models import AuditEntry
from tests.cast import ALICE, BOB, NOW
from tests.web.conftest import Browser

DAY = timedelta(days=1)
HOST = Actor(kind="host", name="web1", id="h", address="198.51.100.7")


def record(actor=ALICE, action="host.renamed", at: datetime = NOW, name: str = "web1", **payload) -> None:
    audit.record(actor, action, now=at, kind="host", name=name, **payload)


@pytest.fixture
def some() -> None:
    record(ALICE, at=NOW - 3 * DAY, name="one")
    record(BOB, "job.ordered", at=NOW - 2 * DAY, name="two")
    record(HOST, "host.connected_first", at=NOW - DAY, name="three")
    record(ALICE, "job.ordered", at=NOW, name="four")


def targets(page) -> set[str]:
    rows = page.soup.select("tr[id^=audit-] strong")
    return {row.get_text(strip=True) for row in rows}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("who=bob", {"two"}), ("kind=host", {"three"}), ("action=job.ordered", {"two", "four"}),
        ("target=one", {"one"}), ("address=198.51.100.7", {"three"}), ("since=2026-11-22", {"three", "four"}),
        ("until=2026-11-21", {"one", "two"}),
        ("since=2026-11-21&until=2026-11-22", {"two", "three"}), ("who=alice&action=job.ordered", {"four"}),
        ("who=nobody", set()), ("q=bob", {"two"}),
        ("q=connected+for+the+first", {"three"}), ("q=ORDERED", {"two", "four"}),
        ("kind=nonsense&who=bob", {"two"}),
    ],
)  # fmt: skip
def test_each_filter_shows_what_it_says(bob: Browser, some, query: str, found: set[str]) -> None:
    assert targets(bob.get(f"/audit?{query}")) == found


def test_a_day_that_is_none_is_said_beside_its_field(bob: Browser) -> None:
    page = bob.get("/audit?since=yesterday&until=9999-12-31")

    assert "Write a day" in page.text("#since-error")
    assert page.status == 200
    assert bob.get("/audit.csv?since=yesterday").status == 422


def test_details_show_what_was_before_and_what_is_since(bob: Browser) -> None:
    record(action="settings.changed", before={"keep": 14, "same": 1}, after={"keep": 3, "same": 1}, note="<script>")

    row = bob.get("/audit").text("tr[id^=audit-] details")

    assert "keep 14 → 3" in row
    assert "same" not in row
    assert "<script>" in row


def test_a_search_that_is_not_full_goes_on_further_back(bob: Browser, monkeypatch) -> None:
    record(name="needle")
    for _ in range(60):
        record()
    monkeypatch.setattr(stored, "WINDOW", 30)

    first = bob.get("/audit?q=needle")
    assert "Search further back" in first.text("#pager")
    second = bob.get(str(first.find("a[rel=next]")["href"]))
    third = bob.get(str(second.find("a[rel=next]")["href"]))

    assert (targets(first), targets(second), targets(third)) == (set(), set(), {"needle"})


def test_paging_keeps_the_filters_and_shows_each_entry_once(bob: Browser) -> None:
    for number in range(120):
        record(name=f"host {number}", actor=ALICE if number % 2 else BOB)

    seen, path = [], "/audit?who=alice"
    while path:
        page = bob.get(path)
        seen += [row.get_text(strip=True) for row in page.soup.select("tr[id^=audit-] strong")]
        more = page.soup.select_one("a[rel=next]")
        path = str(more["href"]) if more else ""

    assert seen == [f"host {number}" for number in range(119, 0, -2)]


def rows_of(answer) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(answer.response.get_data(as_text=True))))


def test_the_file_holds_what_the_filters_show_and_its_making_is_recorded(bob: Browser, some) -> None:
    answer = bob.get("/audit.csv?action=job.ordered")

    assert [row["target_name"] for row in rows_of(answer)] == ["four", "two"]
    assert answer.response.headers["Content-Type"] == "text/csv; charset=utf-8"
    entry = AuditEntry.get(AuditEntry.action == "audit.exported")
    assert (entry.actor_name, entry.payload) == ("bob", {"filters": {"action": "job.ordered"}})


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", " =1", "＝1"])
def test_no_cell_of_the_file_is_a_formula(bob: Browser, text: str) -> None:
    record(name=text)

    [row] = [row for row in rows_of(bob.get("/audit.csv")) if row["action"] == "host.renamed"]

    assert row["target_name"] == f"'{text}"


def test_the_file_is_written_piece_by_piece(bob: Browser, monkeypatch) -> None:
    monkeypatch.setattr(stored, "CHUNK", 7)
    for number in range(20):
        record(name=f"host {number}")
    sizes = [len(piece) for piece in stored.each(Filters())]

    assert max(sizes) <= 7
    assert len(rows_of(bob.get("/audit.csv"))) == AuditEntry.select().count()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entries SET actor_name = 'nobody'",
        "DELETE FROM audit_entries",
        "DELETE FROM audit_entries WHERE id = (SELECT max(id) FROM audit_entries)",
        "REPLACE INTO audit_entries (id, at, actor_kind, actor_name, action) SELECT max(id), '2026', 'user', 'x', 'x'"
        " FROM audit_entries",
        "INSERT OR REPLACE INTO audit_entries (id, at, actor_kind, actor_name, action)"
        " SELECT max(id), '2026', 'user', 'x', 'x' FROM audit_entries",
        "INSERT INTO audit_entries (id, at, actor_kind, actor_name, action) SELECT max(id), '2026', 'user', 'x', 'x'"
        " FROM audit_entries WHERE true ON CONFLICT (id) DO UPDATE SET actor_name = 'x'",
        "UPDATE OR REPLACE audit_entries SET id = id + 1",
    ],
)
def test_the_database_refuses_to_change_or_remove_an_entry(app, statement: str) -> None:
    record()
    before = db.execute_sql("SELECT * FROM audit_entries").fetchall()

    with pytest.raises(DatabaseError, match="append-only"):
        db.execute_sql(statement)

    assert db.execute_sql("SELECT * FROM audit_entries").fetchall() == before


def test_a_million_entries_are_paged_without_looking_at_all_of_them(app) -> None:
    """Each query names the index it uses; none walks the whole table."""
    record()
    queries: list[str] = []
    before = db.execute_sql

    def heard(sql, params=None, *more):
        queries.append((sql, params))
        return before(sql, params, *more)

    db.execute_sql = heard
    try:
        for filters in (
            Filters(),
            Filters(action="host.renamed"),
            Filters(who="alice", target="x"),
            Filters(since=NOW),
        ):
            stored.list_page(filters)
        stored.count()
        stored.list_actions()
    finally:
        db.execute_sql = before
    plans = [
        " ".join(str(row[3]) for row in before(f"EXPLAIN QUERY PLAN {sql}", params).fetchall())
        for sql, params in queries
    ]
    assert len(plans) > 10
    assert [plan for plan in plans if "SCAN" in plan] == []


def test_a_day_that_is_none_is_named_and_the_field_stays_usable(alice) -> None:
    page = alice.get("/audit?since=nonsense")

    assert "Write a day such as" in page.text("main")
    assert page.soup.select_one("#since").get("value", "") == ""
