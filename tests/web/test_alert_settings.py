"""The page of the alert rules: what it shows, what it refuses, and that what is saved holds at once."""

from datetime import timedelta

import pytest

from rm.events import EventBus
from rm.services import alert_settings, alerts
from rm.store.models import Alert, AuditEntry
from tests import cast
from tests.web.conftest import Browser

PATH = "/settings/alerts"


def test_every_kind_is_shown_with_the_patience_that_is_built_in(alice: Browser) -> None:
    page = alice.get(PATH)

    assert page.find("#patience_agent_offline")["value"] == "15 min"
    assert page.find("#hold_agent_offline")["value"] == "10 min"
    assert page.find("#patience_backup_failed")["value"] == "0 min"


def test_what_is_saved_holds_without_a_restart_and_is_audited(alice: Browser, bus: EventBus) -> None:
    done = alice.post(PATH, {"patience_prune_failed": "24 h"} | everything(alice, "patience_prune_failed"))
    waits = alerts.raise_alert(bus, kind="prune_failed", condition="x", message="No.", now=cast.NOW)

    assert (done.status, waits, Alert.select().count()) == (303, None, 0)
    entry = AuditEntry.get(AuditEntry.action == "settings.changed")
    assert entry.payload["before"]["patience"] == {}
    assert entry.payload["after"]["patience"] == {"prune_failed": 1440}
    assert alice.get(PATH).find("#patience_prune_failed")["value"] == "1 day"


def test_a_tag_has_a_patience_of_its_own_and_loses_it_again(alice: Browser) -> None:
    row = {"tag_0": "laptop", "tag_kind_0": "agent_offline", "tag_patience_0": "24 h"}
    alice.post(PATH, everything(alice) | row)
    laptops = alert_settings.rules().patience_for("agent_offline", ("laptop",))
    alice.post(PATH, everything(alice) | row | {"tag_0": "", "tag_patience_0": ""})

    assert laptops == timedelta(hours=24)
    assert alert_settings.rules().by_tag == ()


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("patience_backup_failed", "soon", "15 min, 24 h or 7 days"),
        ("patience_backup_failed", "31 days", "0 min to 30 days"),
        ("patience_agent_offline", "1 min", "2 min to 30 days"),
        ("hold_agent_offline", "2 days", "at most 1 day"),
        ("tag_patience_0", "5 min", "Name a tag"),
    ],
)
def test_what_makes_no_sense_is_refused_beside_its_field_and_kept_as_typed(
    alice: Browser, field: str, value: str, words: str
) -> None:
    page = alice.post(PATH, everything(alice) | {field: value})

    at = "tag_0" if field.startswith("tag_") else field
    assert page.status == 422
    assert words in page.text(f"#{at}-error")
    assert page.find(f"#{field}")["value"] == value
    assert alert_settings.rules() == alert_settings.AlertRules()


def test_a_tag_has_one_patience_with_a_kind(alice: Browser) -> None:
    rows = {
        f"tag{part}_{number}": value
        for number in (0, 1)
        for part, value in (("", "laptop"), ("_kind", "agent_offline"), ("_patience", "9 h"))
    }

    page = alice.post(PATH, everything(alice) | rows)

    assert "already" in page.text("#tag_1-error")


def test_only_administrators_see_and_change_the_rules(bob: Browser) -> None:
    assert bob.get(PATH).status == 403
    assert bob.post(PATH).status == 403


def everything(alice: Browser, *but: str) -> dict[str, str]:
    """What the form sends when nothing was touched."""
    page = alice.get(PATH)
    fields = {field["name"]: field.get("value", "") for field in page.soup.select("main form input")}
    fields |= {
        field["name"]: field.select_one("option[selected]")["value"] for field in page.soup.select("main form select")
    }
    return {name: value for name, value in fields.items() if name not in but}
