"""Updates that people order, cancel, roll back and hold."""

from datetime import timedelta

from rm.store.models import Host, UpdateAttempt
from tests import cast, update_rows
from tests.cast import EnrolledHost
from tests.update_rows import NEW, OLD
from tests.web.conftest import Browser
from tests.web.host_updates.cards import buttons, card, words

# ---- ordering ------------------------------------------------------------------------------------------


def test_pressing_the_button_orders_one_update_and_pressing_again_no_other(bob: Browser, old: EnrolledHost) -> None:
    first = bob.post(f"/hosts/{old.id}/update")
    again = bob.post(f"/hosts/{old.id}/update")

    assert [one.response.headers["Location"] for one in (first, again)] == [f"/hosts/{old.id}#update-card"] * 2
    assert UpdateAttempt.select().count() == 1
    assert "Queued" in words(card(bob, old))


def test_without_dialogs_the_question_is_a_page_whose_button_orders(bob: Browser, old: EnrolledHost) -> None:
    page = bob.get(f"/hosts/{old.id}/update")
    form = page.find("form.dialog")

    assert "goes back by itself" in page.text("form.dialog")
    assert bob.post(str(form["action"])).status == 303
    assert UpdateAttempt.get().host_id == old.id


def test_an_order_that_is_refused_says_why_and_what_to_do(bob: Browser, old: EnrolledHost) -> None:
    Host.update(is_pinned=True).execute()

    answer = bob.post(f"/hosts/{old.id}/update")

    assert answer.status == 409
    assert "pinned to 1.4.0 by its owner" in answer.text()
    assert "rm-agent unpin" in answer.text()


def test_a_viewer_may_look_and_not_press(charlie: Browser, old: EnrolledHost) -> None:
    page = card(charlie, old)

    assert "Your role may look" in words(page)
    assert not page.has("#update-agent")
    assert not page.has("#update-card .button--primary")
    for path in ("update", "roll-back", "hold"):
        assert charlie.get(f"/hosts/{old.id}/{path}").status == 403
        assert charlie.post(f"/hosts/{old.id}/{path}", {"reason": "x"}).status == 403
    assert UpdateAttempt.select().count() == 0


def known_bad(host: EnrolledHost) -> None:
    update_rows.attempt(
        host.id, "rolled_back", cast.NOW, phase="trial", reason="boots", failure_class="release",
        message="web1 tried 1.5.0 and returned to 1.4.0.",
    )  # fmt: skip


def test_only_an_admin_may_force_a_known_bad_file_and_must_say_why(
    alice: Browser, bob: Browser, old: EnrolledHost
) -> None:
    known_bad(old)

    assert "Update all the same" in buttons(card(alice, old))
    assert "Update all the same" not in buttons(card(bob, old))
    assert bob.get(f"/hosts/{old.id}/update?force=1").status == 403
    assert bob.post(f"/hosts/{old.id}/update", {"force": "1", "reason": "x"}).status == 403
    silent = alice.post(f"/hosts/{old.id}/update", {"force": "1", "reason": " "})
    assert (silent.status, silent.has("#confirm-reason-error")) == (422, True)
    assert silent.find("input[name=force]")["value"] == "1"

    assert alice.post(f"/hosts/{old.id}/update", {"force": "1", "reason": "bad RAM, replaced"}).status == 303
    assert "Forced" in words(card(alice, old))
    assert "bad RAM, replaced" in words(card(alice, old))


def test_before_the_fence_an_update_can_be_cancelled_and_after_it_not(bob: Browser, old: EnrolledHost) -> None:
    made = update_rows.attempt(old.id, "running", cast.NOW, phase="downloading")
    before = card(bob, old)
    UpdateAttempt.update(phase="swapping", fenced_at=cast.NOW).execute()
    after = card(bob, old)

    assert "Cancel update" in buttons(before)
    assert before.find("#cancel-job form")["action"] == f"/jobs/{made.job_id}/cancel"
    assert "Cancel update" not in buttons(after)
    assert bob.post(f"/jobs/{made.job_id}/cancel").status == 409


def test_cancelling_shows_at_once_that_it_is_being_cancelled(bob: Browser, old: EnrolledHost) -> None:
    made = update_rows.attempt(old.id, "running", cast.NOW, phase="downloading")

    assert bob.post(f"/jobs/{made.job_id}/cancel").response.headers["Location"] == f"/jobs/{made.job_id}"

    page = card(bob, old)
    assert "Cancelling" in words(page)
    assert "Cancel update" not in buttons(page)


def test_an_order_for_a_host_that_is_away_says_that_it_waits(bob: Browser, old: EnrolledHost) -> None:
    Host.update(connected_at=None).execute()
    update_rows.attempt(old.id, "queued", cast.NOW)

    assert "Waits for the host" in words(card(bob, old))
    assert "Sent as soon as web1 connects." in words(card(bob, old))


def test_part_of_a_fleet_update_leads_to_it(bob: Browser, old: EnrolledHost) -> None:
    update_rows.attempt(old.id, "running", cast.NOW, phase="verifying")
    made = update_rows.fleet("running", cast.NOW, [(old.id, "updating", 1)])

    assert card(bob, old).find(f'#update-card a[href="/settings/fleet-update/{made.id}"]')


def committed(host: EnrolledHost, *, ago: timedelta) -> UpdateAttempt:
    update_rows.run(host.id, NEW, cast.NOW)
    return update_rows.attempt(host.id, "succeeded", cast.NOW, phase="committed", is_proven=True, ago=ago)


def test_for_seven_days_an_update_can_be_rolled_back(bob: Browser, old: EnrolledHost) -> None:
    made = committed(old, ago=timedelta(days=6))
    early = buttons(card(bob, old))
    UpdateAttempt.update(ended_at=cast.NOW - timedelta(days=8)).where(UpdateAttempt.job == made.job_id).execute()

    assert "Roll back to 1.4.0" in early
    assert card(bob, old).find("#update-card").has_attr("hidden")


def test_rolling_back_wants_a_reason_and_orders_the_previous_agent(bob: Browser, old: EnrolledHost) -> None:
    committed(old, ago=timedelta(hours=2))

    silent = bob.post(f"/hosts/{old.id}/roll-back", {"reason": ""})
    done = bob.post(f"/hosts/{old.id}/roll-back", {"reason": "backups are slower"})

    assert (silent.status, silent.has("#confirm-reason-error")) == (422, True)
    assert done.status == 303
    page = card(bob, old)
    assert page.text("#update-card-title") == "Agent rollback"
    assert page.text("#update-card .version--step") == "1.5.0 to 1.4.0"
    assert "Download" not in page.text("#update-card .stepper")


def test_what_was_rolled_back_by_hand_cannot_be_rolled_back_again(bob: Browser, old: EnrolledHost) -> None:
    committed(old, ago=timedelta(hours=2))
    update_rows.run(old.id, OLD, cast.NOW)
    update_rows.attempt(
        old.id, "succeeded", cast.NOW, phase="committed", is_rollback=True, from_version=NEW[0], from_seq=NEW[1],
        to_version=OLD[0], to_seq=OLD[1],
    )  # fmt: skip

    assert "Roll back to 1.5.0" not in buttons(card(bob, old))


# ---- hold ------------------------------------------------------------------------------------------------


def test_an_admin_holds_a_host_with_a_reason_and_releases_it(alice: Browser, old: EnrolledHost) -> None:
    silent = alice.post(f"/hosts/{old.id}/hold", {"reason": ""})
    alice.post(f"/hosts/{old.id}/hold", {"reason": "waits for the new kernel"})
    held = alice.get(f"/hosts/{old.id}/settings")

    assert (silent.status, silent.has("#confirm-reason-error")) == (422, True)
    assert "waits for the new kernel" in held.text("#hold")
    assert "held" in held.text("#host-head")
    assert "held: waits for the new kernel" in alice.post(f"/hosts/{old.id}/update").text()
    assert alice.post(str(held.find("#hold form")["action"])).status == 303
    assert "Update agent" in buttons(card(alice, old))


def test_holding_is_for_admins(bob: Browser, old: EnrolledHost) -> None:
    page = bob.get(f"/hosts/{old.id}/settings")

    assert "An administrator can do this." in page.text("#hold")
    assert bob.post(f"/hosts/{old.id}/hold", {"reason": "x"}).status == 403
    assert bob.post(f"/hosts/{old.id}/unhold").status == 403
