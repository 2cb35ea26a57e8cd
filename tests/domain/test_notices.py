"""How a notification reads, and that nothing in it can be more than text."""

from datetime import datetime, timedelta, timezone

import pytest

from rm.domain import notices
from rm.domain.notices import Notice

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=timezone.utc)
RAISED = Notice(
    event="raised", severity="critical", title="Repository unreachable: nas", message="40 hosts cannot open it.",
    advice="Look whether it runs.", kinds=("repository_unreachable",), host_count=40,
    hosts=("db1", "db2", "web1", "web2", "web3"), since=NOW, at=NOW, link="https://rm.example.net/alerts/x",
    incident_id="x",
)  # fmt: skip


def but(**values: object) -> Notice:
    return Notice(**{**vars(RAISED), **values})  # type: ignore[arg-type]


def test_a_failure_says_what_since_when_how_many_what_next_and_where() -> None:
    assert notices.subject(RAISED) == "[critical] Repository unreachable: nas, 40 hosts"
    assert notices.text(RAISED) == (
        "Critical: 40 hosts cannot open it.\n"
        "Since: 2026-11-23 12:00 UTC\n"
        "Hosts: 40 (db1, db2, web1, web2, web3 and 35 more)\n"
        "Next: Look whether it runs.\n"
        "https://rm.example.net/alerts/x"
    )


def test_each_event_is_told_apart_by_subject_text_colour_and_json() -> None:
    events = [but(event=event, actor="bob") for event in notices.EVENTS]

    assert len({notices.subject(one) for one in events}) == 4
    assert len({notices.text(one).splitlines()[0] for one in events}) == 4
    assert [notices.apprise_kind(one) for one in events] == ["failure", "failure", "info", "success"]
    assert [notices.as_json(one, delivery_id="d")["event"] for one in events] == list(notices.EVENTS)
    assert notices.apprise_kind(but(severity="warning")) == "warning"


def test_a_server_with_a_name_says_it_in_the_subject_and_in_json() -> None:
    named = but(server="Backups\r\nof Berlin")

    assert notices.subject(named) == "[critical] Repository unreachable: nas, 40 hosts · Backups of Berlin"
    assert notices.as_json(named, delivery_id="d")["server"] == "Backups of Berlin"
    assert notices.subject(but(event="test", server="Berlin")) == "[test] Berlin can reach you here"


def test_an_end_says_how_long_it_lasted_and_who_said_so() -> None:
    over = but(event="resolved", actor="bob", message="", at=NOW + timedelta(hours=26, minutes=5))

    assert "It is over, says bob." in notices.text(over)
    assert "for 1 d 2 h 5 min" in notices.text(over)
    assert "Next:" not in notices.text(over)
    assert notices.text(but(event="resolved", message="A backup arrived.")).startswith("It is over. A backup arrived.")


@pytest.mark.parametrize("name", ["web1\r\nBcc: a@b.c", "web1\nX: y", "a\x00b", "a\u2028b", "a\u202etxt.exe", "a\x85b"])
def test_a_name_with_hidden_characters_stays_on_its_line(name: str) -> None:
    notice = but(title=f"Backup failed: {name}", hosts=(name,), message=name, actor=name)

    assert notices.subject(notice).isprintable()
    assert len(notices.text(notice).splitlines()) == 5
    assert all(line.isprintable() for line in notices.text(notice).splitlines())
    assert notices.as_json(notice, delivery_id="d")["title"].isprintable()


def test_a_name_that_chats_would_act_on_is_only_text() -> None:
    notice = but(message="<!channel> @everyone @here <script>x</script> [click](https://evil.example)")

    text = notices.text(notice)

    assert "<" not in text
    assert "@everyone" not in text
    assert "@here" not in text
    assert "](" not in text


def test_a_test_says_that_nothing_is_wrong() -> None:
    test = Notice(event="test", severity="warning", title="Test", link="https://rm.example.net")

    assert "[test]" in notices.subject(test)
    assert "Nothing is wrong" in notices.text(test)
    assert notices.as_json(test, delivery_id="d")["incident"] is None


def test_long_texts_are_cut() -> None:
    notice = but(title="x" * 5000, message="y" * 5000)

    assert len(notices.subject(notice)) < 250
    assert len(notices.text(notice)) < 4000
