"""The audit page."""

from rm.services import audit
from rm.web.audit import WORDS
from tests import cast
from tests.web.conftest import Browser


def record(count: int, name: str = "web1") -> None:
    for _ in range(count):
        audit.record(cast.ALICE, "host.renamed", now=cast.NOW, kind="host", name=name, before="<i>old</i>")


def test_entries_say_who_did_what_when_and_from_where(bob: Browser) -> None:
    record(1)

    row = bob.get("/audit").text("#audit tbody")

    for part in (
        "Monday, 23 November 2026, UTC",
        "12:00:00",
        "alice",
        "renamed a host to web1",
        "192.0.2.1",
        "<i>old</i>",
    ):
        assert part in row


def test_search_and_older_entries(bob: Browser) -> None:
    record(1, "needle")
    record(60)

    first = bob.get("/audit")
    older = bob.get(str(first.find("a[rel=next]")["href"]))
    found = bob.get("/audit?q=needle")

    assert len(first.soup.select("tr[id^=audit-]")) == 50
    assert len(older.soup.select("tr[id^=audit-]")) == 11
    assert len(found.soup.select("tr[id^=audit-]")) == 1
    assert "Nothing found" in bob.get("/audit?q=zzz").text("#audit")


def test_a_viewer_has_no_link_to_it(charlie: Browser) -> None:
    assert not charlie.get("/").has("a[href='/audit']")


def test_every_action_that_services_record_has_words() -> None:
    import re
    from pathlib import Path

    services = Path(__file__).parents[2] / "rm" / "services"
    text = "".join(file.read_text() for file in services.glob("*.py"))
    nouns = (
        "user|host|job|repository|source_group|enrolment_token|release|keyset|trust|schedule|template|maintenance|restore"
        "|channel|delivery|alert|incident|second_factor|session|update|server_backup"
    )
    actions = set(re.findall(rf'"((?:{nouns})\.(?!json)[a-z_]+)"', text))

    assert actions - set(WORDS) == set()


def test_the_hour_of_an_entry_is_that_of_the_day_it_stands_under(bob: Browser) -> None:
    record(1)

    shown = bob.get("/audit").find("#audit tbody time")

    # moved to the reader's own zone it could belong to another day than the heading says
    assert shown["datetime"] == "2026-11-23T12:00:00Z"
    assert not shown.has_attr("data-local")
