"""The update card of a host and of its job: what it says in each state, and what can be pressed."""

from datetime import timedelta
from typing import Any

import pytest

from rm.events import EventBus, HostChanged, UpdateChanged
from rm.runtime import Runtime
from rm.services import updates as service
from rm.store.models import AuditEntry, Host, Job, Release, UpdateAttempt
from tests import cast, update_rows
from tests.cast import EnrolledHost
from tests.update_rows import ARTIFACT, NEW, OLD
from tests.web.conftest import Browser, Page
from tests.web.test_live import Tab, part, targets


@pytest.fixture
def release(app: Any) -> Release:
    return update_rows.add_release(cast.NOW)


@pytest.fixture
def old(web1: EnrolledHost, release: Release) -> EnrolledHost:
    """web1, connected, one release behind."""
    update_rows.run(web1.id, OLD, cast.NOW)
    return web1


def card(browser: Browser, host: EnrolledHost) -> Page:
    page = browser.get(f"/hosts/{host.id}")
    assert page.status == 200
    return page


def words(page: Page, selector: str = "#update-card") -> str:
    return page.text(selector)


def buttons(page: Page) -> list[str]:
    return [" ".join(one.get_text(" ").split()) for one in page.find("#update-card").select(".card__foot .button")]


# ---- behind, and how that is judged -------------------------------------------------------------------


def test_a_host_that_is_behind_has_a_button_that_asks_first(bob: Browser, old: EnrolledHost) -> None:
    page = card(bob, old)

    assert buttons(page) == ["Update agent"]
    link = page.find("#update-card .button--primary")
    assert (link["href"], link["data-dialog"]) == (f"/hosts/{old.id}/update", "update-agent")
    assert page.find(f"#{link['data-dialog']} form")["action"] == f"/hosts/{old.id}/update"
    assert "web1 goes from 1.4.0 to 1.5.0." in words(page)


@pytest.mark.parametrize(
    ("version", "is_behind"),
    [(("1.10.0", 14), True), (("0.9.9", 14), True), (("1.4.9", 15), False), (("1.4.0", 16), False)],
)
def test_the_sequence_says_who_is_behind_and_never_the_version(
    bob: Browser, old: EnrolledHost, version: tuple[str, int], is_behind: bool
) -> None:
    update_rows.run(old.id, version, cast.NOW)

    assert ("Update agent" in buttons(card(bob, old)) if card(bob, old).has("#update-card .card__foot") else False) == (
        is_behind
    )
    assert bob.get("/?status=behind").has(f"#host-{old.id}") == is_behind


def test_a_host_that_runs_the_current_release_has_no_card(alice: Browser, old: EnrolledHost) -> None:
    update_rows.run(old.id, NEW, cast.NOW)

    assert card(alice, old).find("#update-card").has_attr("hidden")


def test_without_a_release_nothing_is_said_of_updates(alice: Browser, web1: EnrolledHost) -> None:
    page = card(alice, web1)

    assert page.find("#update-card").has_attr("hidden")
    assert not alice.get("/").has('a[href="/?status=behind#fleet"]')


@pytest.mark.parametrize(
    ("fields", "said", "offered"),
    [
        ({"is_pinned": True}, "Pinned by its owner", []),
        ({"held_reason": "new kernel first"}, "web1 is held: new kernel first", ["Let it be updated"]),
        ({"guard_version": "1"}, "needs guard 2; web1 has 1", []),
        ({"agent_seq": 20, "agent_version": "2.0.0"}, "newer than 1.5.0", []),
        ({"connected_at": None}, "is not connected; the order waits for it", ["Update agent"]),
    ],
)
def test_what_stands_in_the_way_of_an_update_is_said(
    alice: Browser, old: EnrolledHost, fields: dict[str, Any], said: str, offered: list[str]
) -> None:
    Release.update(guard_min=2).execute()
    Host.update(fields).where(Host.id == old.id).execute()

    page = card(alice, old)

    assert said in words(page)
    assert (buttons(page) if page.has("#update-card .card__foot") else []) == offered


def test_a_guard_that_is_too_old_comes_with_the_line_that_renews_it(alice: Browser, old: EnrolledHost) -> None:
    Release.update(guard_min=3).execute()

    assert card(alice, old).text("#standing-fix") == "curl -fsSL http://localhost/install.sh | sudo sh -s -- --repair"


def test_a_pin_is_shown_with_what_lifts_it_on_the_host_and_with_no_button(alice: Browser, old: EnrolledHost) -> None:
    Host.update(is_pinned=True).execute()

    assert card(alice, old).text("#standing-fix") == "sudo rm-agent unpin"
    assert "This server cannot lift that" in alice.get(f"/hosts/{old.id}/settings").text("#hold")


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


# ---- while it moves -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "phase", "step", "following"),
    [
        ("queued", "", None, "Sent to web1 within seconds."),
        ("dispatched", "", None, "web1 takes the order."),
        ("running", "preflight", "Preflight", "waits for the job that runs"),
        ("running", "draining", "Drain", "never interrupted"),
        ("running", "downloading", "Download", "hash are checked"),
        ("running", "verifying", "Verify", "tests itself"),
        ("running", "selftest", "Self-test", "asks this server"),
        ("running", "fence", "Swap", "if this server still agrees"),
        ("running", "swapping", "Swap", "returns to 1.4.0 by itself after 1 min"),
        ("running", "restarting", "Restart", "says hello"),
        ("running", "trial", "Trial", "says hello"),
        ("soaking", "trial", "Soak", "If it stays healthy until then, 1.5.0 is kept."),
        ("deferred", "draining", None, "Tried again by itself"),
    ],
)
def test_every_open_state_has_its_step_since_deadline_and_what_comes_next(
    bob: Browser, old: EnrolledHost, state: str, phase: str, step: str | None, following: str
) -> None:
    update_rows.attempt(old.id, state, cast.NOW, phase=phase, detail="412 MiB free")

    page = card(bob, old)

    now = page.soup.select_one("#update-card .stepper__step--now")
    assert (now.get_text() if now else None) == step
    terms = [one.get_text() for one in page.find("#update-card .stateline").select("dt")]
    assert terms == ["Since", "Deadline", "What happens next"]
    assert all(page.find("#update-card .stateline").select(f"div:nth-of-type({n}) time") for n in (1, 2))
    assert following in words(page)
    assert "412 MiB free" in words(page)
    assert page.text("#update-card .version--step") == "1.4.0 to 1.5.0"


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


# ---- how it ended --------------------------------------------------------------------------------------


def test_a_refusal_shows_code_measured_value_and_the_line_to_type(alice: Browser, old: EnrolledHost) -> None:
    update_rows.attempt(
        old.id, "refused", cast.NOW, phase="preflight", reason="no_space", failure_class="host",
        message="web1 refused 1.5.0 and runs 1.4.0 as before. 12 MiB are free in /usr/local/lib, 68 MiB are needed.",
    )  # fmt: skip

    page = card(alice, old)

    assert page.text("#update-card code") == "no_space"
    assert "12 MiB are free" in words(page)
    assert page.text("#update-fix") == "df -h /usr/local/lib/restic-manager"
    assert page.text("#update-card .stepper__step--failed").startswith("Preflight")
    assert "Something on this host, not the release." in words(page)
    assert "Update agent" in buttons(page)


@pytest.mark.parametrize(
    ("state", "fields", "labels"),
    [
        ("failed", {"is_provisional": True, "reason": "no_hello"}, ["Provisional"]),
        ("succeeded", {"is_late": True, "is_proven": True}, ["Late"]),
        ("succeeded", {}, ["Not proven"]),
        ("succeeded", {"is_proven": True}, []),
        ("rolled_back", {"is_late": True, "failure_class": "release", "reason": "boots"}, ["Late", "Counted as"]),
    ],
)
def test_what_qualifies_a_verdict_is_said_in_words(
    alice: Browser, old: EnrolledHost, state: str, fields: dict[str, Any], labels: list[str]
) -> None:
    update_rows.attempt(old.id, state, cast.NOW, phase="swapping" if state == "failed" else "trial", **fields)

    shown = [one.get_text(strip=True) for one in card(alice, old).soup.select("#update-card dl.facts dt .status")]

    assert shown == labels


def test_the_bad_file_that_the_host_may_be_told_to_forget_is_named(alice: Browser, old: EnrolledHost) -> None:
    update_rows.attempt(old.id, "refused", cast.NOW, phase="preflight", reason="known_bad", failure_class="host")

    assert card(alice, old).text("#update-fix") == f"sudo rm-agent forget-bad {ARTIFACT}"


def test_silence_after_the_swap_is_shown_at_the_restart_and_not_at_the_swap(alice: Browser, old: EnrolledHost) -> None:
    update_rows.attempt(old.id, "failed", cast.NOW, phase="swapping", reason="no_hello", is_provisional=True)

    assert card(alice, old).text("#update-card .stepper__step--failed").startswith("Restart")


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


# ---- the job's page, live, and long names ---------------------------------------------------------------


def test_the_jobs_page_has_the_same_card_with_all_events_and_the_log(bob: Browser, old: EnrolledHost) -> None:
    made = update_rows.attempt(old.id, "running", cast.NOW, phase="downloading", percent=41.0)

    page = bob.get(f"/jobs/{made.job_id}")

    assert page.text("#job-head h1") == "Agent update Downloading, 41 %"
    assert len(page.find("#update-events").select("li")) == 3
    assert "candidate: imports fine" in page.text("#job-log-lines")
    assert "restic-command" not in str(page.soup)
    assert page.find("#cancel-job .dialog__head").get_text() == "Cancel this update"


def test_an_ended_update_is_not_offered_to_be_run_again_as_a_job(bob: Browser, old: EnrolledHost) -> None:
    made = update_rows.attempt(old.id, "succeeded", cast.NOW, phase="committed", is_proven=True)

    assert not bob.get(f"/jobs/{made.job_id}").has("#job-head form")


def test_the_card_moves_live_on_the_hosts_page_and_on_the_jobs_page(
    bob: Browser, bus: EventBus, old: EnrolledHost
) -> None:
    made = update_rows.attempt(old.id, "running", cast.NOW, phase="downloading", percent=41.0)
    host_tab, job_tab = Tab(bob, f"/live/hosts/{old.id}?tab=overview"), Tab(bob, f"/live/jobs/{made.job_id}")
    first, _ = host_tab.next(), job_tab.next()

    UpdateAttempt.update(phase="verifying", percent=None).execute()
    bus.publish(UpdateChanged(made.job_id, old.id))

    assert "Downloading, 41 %" in part(first, "#update-card").get_text()
    news = host_tab.next()
    assert "Verifying" in part(news, "#update-card").get_text()
    assert set(targets(news)) == {"#host-head", "#update-card"}
    assert str(part(news, "#update-card").section) == str(card(bob, old).find("#update-card"))
    assert "Verifying" in part(job_tab.next(), "#update-card").get_text()


def test_the_live_card_offers_a_viewer_nothing_to_press(charlie: Browser, bus: EventBus, old: EnrolledHost) -> None:
    update_rows.attempt(old.id, "running", cast.NOW, phase="downloading")
    tab = Tab(charlie, f"/live/hosts/{old.id}?tab=overview")

    shown = part(tab.next(), "#update-card")

    assert "Cancel update" not in shown.get_text()
    assert "Log and all events" in shown.get_text()


def test_a_name_that_could_mislead_is_made_harmless_on_the_card(bob: Browser, old: EnrolledHost) -> None:
    Host.update(name="a\u202eb" + "x" * 250).execute()
    update_rows.attempt(old.id, "running", cast.NOW, phase="preflight", detail="a\u202eb\nc")

    assert "\u202e" not in words(card(bob, old))


# ---- the fleet page ------------------------------------------------------------------------------------


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
