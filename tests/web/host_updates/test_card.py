"""The update card of a host and of its job: what it says in each state."""

from typing import Any

import pytest

from rm.events import EventBus, UpdateChanged
from rm.store.models import Host, Release, UpdateAttempt
from tests import cast, update_rows
from tests.cast import EnrolledHost
from tests.update_rows import ARTIFACT, NEW
from tests.web.conftest import Browser
from tests.web.host_updates.cards import buttons, card, words
from tests.web.test_live import Tab, part, targets

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
