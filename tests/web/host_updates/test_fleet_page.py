"""What the fleet's page, the audit log and lists of jobs say of updates."""

from datetime import timedelta

import pytest

from rm.events import EventBus, HostChanged, UpdateChanged
from rm.runtime import Runtime
from rm.services import updates as service
from rm.store.models import AuditEntry, Host, Job, Release
from tests import cast, update_rows
from tests.cast import EnrolledHost
from tests.update_rows import NEW, OLD
from tests.web.conftest import Browser
from tests.web.test_live import Tab, part


def test_the_fleet_page_counts_who_is_behind_in_a_tile_that_filters(
    alice: Browser, old: EnrolledHost, db1: EnrolledHost
) -> None:
    update_rows.run(db1.id, NEW, cast.NOW)

    page = alice.get("/")
    tile = page.find('a.readout[href="/?status=behind#fleet"]')

    assert "1 host behind" in tile.get_text()
    assert "1 of 2" in " ".join(tile.get_text(" ").split())
    narrowed = alice.get("/?status=behind")
    assert narrowed.has(f"#host-{old.id}")
    assert not narrowed.has(f"#host-{db1.id}")


def test_revoked_hosts_are_not_behind(alice: Browser, old: EnrolledHost, db1: EnrolledHost) -> None:
    update_rows.run(db1.id, NEW, cast.NOW)
    Host.update(revoked_at=cast.NOW).where(Host.id == old.id).execute()

    assert "no host is behind" in alice.get("/").text("#readouts")
    assert not alice.get("/").has(f"#host-{old.id} .version--step")


@pytest.mark.parametrize(
    ("state", "phase", "word"), [("", "", "behind, online"), ("running", "downloading", "downloading, online")]
)
def test_a_row_shows_from_what_to_what_its_agent_goes(
    alice: Browser, old: EnrolledHost, state: str, phase: str, word: str
) -> None:
    if state:
        update_rows.attempt(old.id, state, cast.NOW, phase=phase)

    page = alice.get("/")

    assert page.text(f"#host-{old.id} .version--step") == "1.4.0 to 1.5.0"
    assert page.text(f"#host-{old.id} td:last-child small") == word


def test_a_row_of_the_fleet_follows_the_update_live(charlie: Browser, bus: EventBus, old: EnrolledHost) -> None:
    tab = Tab(charlie, "/live/fleet")
    tab.next()

    made = update_rows.attempt(old.id, "running", cast.NOW, phase="selftest")
    bus.publish(UpdateChanged(made.job_id, old.id))

    assert "testing itself" in part(tab.next(), f"#host-{old.id}").get_text()


def test_a_failed_update_needs_somebody_and_leads_to_its_card(
    charlie: Browser, parts: Runtime, old: EnrolledHost
) -> None:
    service.order(parts.bus, host_id=old.id, actor=cast.BOB, now=cast.NOW)
    service.orders_for(parts.bus, host_id=old.id, now=cast.NOW)
    late = cast.NOW + timedelta(minutes=3)

    service.sweep(parts.bus, now=late)

    need = charlie.get("/").find("#needs")
    assert "Update failed" in need.get_text()
    assert need.select_one(f'a[href="/hosts/{old.id}#update-card"]')


def test_a_page_of_fifty_hosts_that_are_behind_stays_light(alice: Browser, release: Release) -> None:
    from tests.web.test_fleet import MOST_BYTES, add_hosts

    add_hosts(50)
    Host.update(agent_seq=OLD[1], agent_version=OLD[0]).execute()

    page = alice.get("/")

    assert len(page.soup.select("#hosts .version--step")) == 50
    assert len(page.response.data) <= MOST_BYTES * 1.2


def test_every_step_of_an_update_has_words_in_the_audit_log(alice: Browser, parts: Runtime, old: EnrolledHost) -> None:
    service.order(parts.bus, host_id=old.id, actor=cast.ALICE, now=cast.NOW)

    [entry] = AuditEntry.select().where(AuditEntry.action == "update.ordered")
    assert "ordered the" in alice.get("/audit").text("main")
    assert entry.actor_name == "alice"


def test_a_job_list_names_an_update(bob: Browser, bus: EventBus, old: EnrolledHost) -> None:
    update_rows.attempt(old.id, "running", cast.NOW, phase="draining")
    bus.publish(HostChanged(old.id))

    assert "Agent update" in bob.get(f"/hosts/{old.id}/jobs").text("main")
    assert "Updating agent now." in bob.get(f"/hosts/{old.id}").text("#host-verdict")
    assert Job.get(Job.kind == "update").state == "running"
