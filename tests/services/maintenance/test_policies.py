"""Policies of upkeep: what holds until somebody decides otherwise, and what people decide."""

from dataclasses import replace

import pytest

from rm.domain import maintenance as rules
from rm.errors import Invalid
from rm.services import maintenance, maintenance_policies
from rm.services.maintenance_policies import DEFAULTS
from rm.store import maintenance as store
from rm.store.models import AuditEntry, MaintenancePolicy, SourceGroup
from tests.cast import ALICE, NOW
from tests.services.maintenance.acting import DAY, next_of, only, policy, swept


def test_a_new_repository_is_forgotten_daily_and_pruned_and_checked_weekly(place):
    kept = {one.kind: (one.is_enabled, one.every_hours, one.parts) for one in store.list_policies(place)}

    assert kept == {"forget": (True, 24, 0), "prune": (True, 168, 0), "check": (True, 168, 12)}


def test_a_repository_from_before_gets_its_policies_with_the_first_sweep(bus, place):
    MaintenancePolicy.delete().execute()

    maintenance.sweep(bus, now=NOW)

    assert {one.kind for one in store.list_policies(place)} == set(rules.KINDS)


def test_without_a_retention_nothing_is_ever_forgotten(bus, place):
    only(place, "forget")

    assert swept(bus, NOW + 30 * DAY) is None
    assert (
        next_of(place, "forget", NOW).text == "no source group that backs up here has a retention: everything is kept"
    )


def test_a_retention_that_means_nothing_never_goes_out(bus, place):
    only(place, "forget")
    SourceGroup.update(retention={"keep_daily": 0}).execute()

    assert swept(bus, NOW + 30 * DAY) is None


def test_a_policy_is_saved_audited_and_told(bus, place):
    form = replace(DEFAULTS["prune"], every_hours=24, window_from="22:00", window_to="06:00", timezone="Europe/Berlin")

    maintenance_policies.save(bus, repository_id=place, kind="prune", form=form, actor=ALICE, now=NOW)

    entry = AuditEntry.get(AuditEntry.action == "maintenance.changed")
    assert maintenance_policies.form_of(policy(place, "prune")) == form
    assert (entry.payload["before"]["every_hours"], entry.payload["after"]["every_hours"]) == (168, 24)


@pytest.mark.parametrize(
    ("kind", "wrong", "field"),
    [
        ("prune", {"every_hours": 0}, "every_hours"),
        ("prune", {"box_minutes": 0}, "box_minutes"),
        ("check", {"parts": 257}, "parts"),
        ("check", {"parts": -1}, "parts"),
        ("prune", {"parts": 3}, "parts"),
        ("prune", {"window_from": "22:00"}, "window_to"),
        ("prune", {"window_from": "22:00", "window_to": "22:05"}, "window_to"),
        ("prune", {"timezone": "Nowhere"}, "timezone"),
    ],
)
def test_what_cannot_be_is_refused_beside_its_field(bus, place, kind, wrong, field):
    with pytest.raises(Invalid) as refused:
        maintenance_policies.save(
            bus, repository_id=place, kind=kind, form=replace(DEFAULTS[kind], **wrong), actor=ALICE, now=NOW
        )

    assert list(refused.value.fields) == [field]
