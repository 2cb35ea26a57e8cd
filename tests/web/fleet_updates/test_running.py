"""The page of a fleet update that runs."""

from rm.events import EventBus
from rm.services import fleet_updates as service
from rm.store.models import FleetUpdate, FleetUpdateHost, Host, Release
from rm.web import fleet_update_words
from tests import cast, update_rows
from tests.cast import EnrolledHost
from tests.web.conftest import Browser
from tests.web.fleet_updates.moving import PATH, add_many, row_texts


def test_every_unfinished_row_says_state_since_deadline_what_is_next_and_the_last_message(
    charlie: Browser, started: FleetUpdate, pair: tuple[EnrolledHost, EnrolledHost]
) -> None:
    web1, db1 = pair
    made = update_rows.attempt(db1.id, "running", cast.NOW, phase="downloading", detail="1.2 of 2.9 MiB")
    FleetUpdateHost.update(state="updating", attempt_id=made.job_id).where(FleetUpdateHost.host == db1.id).execute()

    page = charlie.get(f"{PATH}/{started.id}")

    moving, waiting = page.text(f"#update-host-{db1.id}"), page.text(f"#update-host-{web1.id}")
    assert "Downloading" in moving and "Download, 3 of 9" in moving and "1.2 of 2.9 MiB" in moving
    assert "Then signature, sequence, size and hash are checked." in moving
    assert len(page.find(f"#update-host-{db1.id}").select("time")) == 2
    assert "Waiting" in waiting and "waits for a free slot: db1" in waiting
    assert "db1 is being updated." in page.text("h1")
    assert "db1: Downloading" in page.text("#fleet-update-state")
    assert page.text("#fleet-update-progress .stepper__step--now") == "Download"


def test_the_ticks_stand_for_the_hosts_wave_by_wave(charlie: Browser, release: Release) -> None:
    ids = add_many(6)
    states = ("succeeded", "soaking", "failed", "waiting", "passed_over", "skipped")
    made = update_rows.fleet("running", cast.NOW, [(one, state, 1) for one, state in zip(ids, states, strict=True)])
    FleetUpdateHost.update(wave=0).where(FleetUpdateHost.host == ids[0]).execute()

    page = charlie.get(f"{PATH}/{made.id}")

    cells = [
        [str(cell["class"][1]).partition("--")[2] for cell in wave.select(".tally__cell")]
        for wave in page.soup.select("#fleet-update-progress .waves__wave")
    ]
    assert cells == [["ok"], ["live", "failed", "todo", "asleep", "skip"]]
    assert row_texts(page, ".waves__name") == ["Canary , done", "Wave 1 , 0 of 5"]


def test_each_host_that_is_not_updated_says_why(
    charlie: Browser, bus: EventBus, pair: tuple[EnrolledHost, EnrolledHost]
) -> None:
    web1, db1 = pair
    Host.update(is_pinned=True).where(Host.id == web1.id).execute()
    Host.update(connected_at=None).where(Host.id == db1.id).execute()
    planned = service.plan(bus, options={}, actor=cast.ALICE, now=cast.NOW)
    service.start(bus, fleet_update_id=planned.id, actor=cast.ALICE, now=cast.NOW)

    page = charlie.get(f"{PATH}/{planned.id}")

    assert "Pinned" in page.text(f"#update-host-{web1.id}")
    assert "by its owner" in page.text(f"#update-host-{web1.id}")
    assert "Offline" in page.text(f"#update-host-{db1.id}")
    assert "updated when it returns" in page.text(f"#update-host-{db1.id}")


def test_rows_can_be_narrowed_searched_and_paged(alice: Browser, release: Release) -> None:
    ids = add_many(130)
    made = update_rows.fleet(
        "running", cast.NOW, [(one, "succeeded" if n < 10 else "waiting", 1) for n, one in enumerate(ids)]
    )
    path = f"{PATH}/{made.id}"

    def shown(query: str) -> list[str]:
        return [str(row["id"]) for row in alice.get(f"{path}{query}").soup.select("tr[id^=update-host]")]

    assert [len(shown(f"?page={n}")) for n in (1, 2, 3)] == [50, 50, 30]
    assert len({row for n in (1, 2, 3) for row in shown(f"?page={n}")}) == 130
    assert len(shown("?show=done")) == 10
    assert shown("?q=host-0007") == [f"update-host-{ids[7]}"]
    nothing = alice.get(f"{path}?q=nothing")
    assert "No host matches" in nothing.text("#fleet-update-hosts")
    assert alice.get(f"{path}?show=rubbish&page=x").status == 200


def test_the_page_of_three_thousand_hosts_stays_small(alice: Browser, release: Release) -> None:
    ids = add_many(3000)
    made = update_rows.fleet("running", cast.NOW, [(one, "waiting", 1) for one in ids])

    page = alice.get(f"{PATH}/{made.id}")

    assert len(page.soup.select(".tally__cell")) <= fleet_update_words.MOST_TICKS + 10
    assert "One tick stands for 13 hosts." in page.text("#fleet-update-progress")
    assert len(page.response.data) < 120_000
