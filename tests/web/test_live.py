"""Live streams: what is sent, when, and when they end."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from bs4 import BeautifulSoup, Tag
from flask import Flask

from rm.events import EventBus, HostChanged, HostRemoved, JobChanged, JobLogGrew, JobProgressed
from rm.runtime import Runtime
from rm.services import enrolments, sessions, users
from rm.services import jobs as service
from rm.store.models import Host, Job, JobLogLine, Session, User
from rm.store.vault import Vault
from rm.web import fleet_view, fragments, live
from rm.web.fleet_view import FleetView, Query, SharedParts
from rm.web.fragments import Fragment, Sent
from rm.web.job_view import JobView
from tests import cast
from tests.cast import EnrolledHost
from tests.web.conftest import Browser


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "FLUSH_SECONDS", 0.01)
    monkeypatch.setattr(live, "SIGN_OF_LIFE_SECONDS", 0.05)


@pytest.fixture
def rows_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The summary, due a second after the last, never comes; a slow machine would mix it with the rows."""
    monkeypatch.setattr(fleet_view, "SUMMARY_SECONDS", 3600)


class Tab:
    """An open stream, read event by event."""

    def __init__(self, browser: Browser, path: str, **headers: str) -> None:
        self.response = browser.client.get(path, headers=headers)
        self._events: Iterator[str] = (
            event.decode() if isinstance(event, bytes) else event for event in self.response.response
        )
        assert next(self._events).startswith("retry:")

    def next(self) -> BeautifulSoup:
        """The next event with content; signs of life are passed over."""
        for event in self._events:
            if not event.startswith("event: alive"):
                return self.read(event)
        raise AssertionError("the stream ended")

    def is_over(self) -> bool:
        return all(event.startswith("event: alive") for event in self._events)

    @staticmethod
    def read(event: str) -> BeautifulSoup:
        data = "\n".join(line[6:] for line in event.splitlines() if line.startswith("data: "))
        soup = BeautifulSoup(data, "html.parser")
        soup.event_id = next((line[4:] for line in event.splitlines() if line.startswith("id: ")), "")
        return soup

    def next_with(self, target: str) -> BeautifulSoup:
        """The next event that changes this element; what comes before it is passed over."""
        while target not in targets(news := self.next()):
            pass
        return news


def part(soup: BeautifulSoup, target: str) -> Tag:
    found = soup.select_one(f'hx-partial[hx-target="{target}"]')
    assert found is not None, [one["hx-target"] for one in soup.select("hx-partial")]
    return found


def targets(soup: BeautifulSoup) -> list[str]:
    return [str(one["hx-target"]) for one in soup.select("hx-partial")]


@pytest.fixture
def job(bus: EventBus, vault: Vault, web1: EnrolledHost) -> Job:
    group_id = cast.give_repository(bus, vault, web1)
    return service.order(bus, host_id=web1.id, kind="backup", source_group_id=group_id, actor=cast.BOB, now=cast.NOW)


def add_lines(job: Job, first: int, last: int) -> None:
    rows = [
        {"job": job.id, "n": n, "at": cast.NOW, "stream": "out", "text": f"line {n}"} for n in range(first, last + 1)
    ]
    JobLogLine.insert_many(rows).execute()


def test_a_stream_starts_with_the_page_as_it_is_now(charlie: Browser, web1: EnrolledHost) -> None:
    tab = Tab(charlie, "/live/fleet")

    first = tab.next()

    assert tab.response.mimetype == "text/event-stream"
    assert tab.response.headers["X-Accel-Buffering"] == "no"
    assert tab.response.headers["Cache-Control"] == "no-store"
    assert {"#verdict", "#needs", "#readouts", "#lamps", "#hosts", "#pager"} <= set(targets(first))
    assert part(first, "#hosts").select_one(f"#host-{web1.id}")


@pytest.mark.usefixtures("rows_alone")
def test_a_changed_host_arrives_as_the_same_row_the_page_shows(
    charlie: Browser, bus: EventBus, web1: EnrolledHost, db1: EnrolledHost
) -> None:
    tab = Tab(charlie, "/live/fleet")
    tab.next()

    Host.update(name="shop").where(Host.id == web1.id).execute()
    bus.publish(HostChanged(web1.id))
    news = tab.next()

    row = part(news, f"#host-{web1.id}")
    assert row["hx-swap"] == "outerMorph"
    assert str(row.select_one("tr")) == str(charlie.get("/").find(f"#host-{web1.id}"))
    assert f"#host-{db1.id}" not in targets(news)


@pytest.mark.usefixtures("rows_alone")
def test_what_is_not_on_the_page_is_not_sent(
    charlie: Browser, bus: EventBus, web1: EnrolledHost, db1: EnrolledHost
) -> None:
    tab = Tab(charlie, "/live/fleet?q=db1")
    tab.next()

    bus.publish(JobProgressed("job", web1.id))
    Host.update(name="db1-renamed").where(Host.id == db1.id).execute()
    bus.publish(HostChanged(db1.id))

    assert targets(tab.next()) == [f"#host-{db1.id}"]


@pytest.mark.usefixtures("rows_alone")
def test_a_row_is_rendered_once_for_all_viewers(app: Flask, bus: EventBus, web1: EnrolledHost) -> None:
    shared = SharedParts(app, bus)
    first, second = FleetView(app, shared, Query()), FleetView(app, shared, Query())
    first.everything(cast.NOW)
    second.everything(cast.NOW)
    Host.update(name="shop").where(Host.id == web1.id).execute()
    event = HostChanged(web1.id)
    bus.publish(event)

    [one], [other] = first.changed([event], cast.NOW), second.changed([event], cast.NOW)

    assert one is other
    assert "shop" in one.html


def test_a_host_that_enrols_appears_without_reloading(charlie: Browser, bus: EventBus, web1: EnrolledHost) -> None:
    tab = Tab(charlie, "/live/fleet")
    tab.next()

    db1 = cast.add_host(bus, "db1")

    assert part(tab.next_with("#hosts"), "#hosts").select_one(f"#host-{db1.id}")


def test_what_another_tab_has_just_read_does_not_hide_what_happened_since(
    app: Flask, bus: EventBus, web1: EnrolledHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    # each tab may refresh at once, and what one has read is good for all for an hour
    monkeypatch.setattr(fleet_view, "SUMMARY_SECONDS", 0)
    shared = SharedParts(app, bus)
    view = FleetView(app, shared, Query())
    view.everything(cast.NOW)
    kept = shared._pages[Query()]
    db1 = cast.add_host(bus, "db1")
    monkeypatch.setattr(fleet_view, "SUMMARY_SECONDS", 7200)
    shared._pages[Query()] = kept

    stale = view.everything(cast.NOW)
    is_behind = view.is_behind
    monkeypatch.setattr(fleet_view, "SUMMARY_SECONDS", 0)
    told = view.changed([], cast.NOW)

    assert (f"host-{db1.id}" in "".join(one.html for one in stale), is_behind) == (False, True)
    assert f"host-{db1.id}" in "".join(one.html for one in told)
    assert not view.is_behind


def test_a_listener_that_fell_behind_gets_everything_anew(charlie: Browser, bus: EventBus, web1: EnrolledHost) -> None:
    tab = Tab(charlie, "/live/fleet")
    tab.next()

    for number in range(1500):
        bus.publish(JobChanged(f"job{number}", "elsewhere"))
    Host.update(name="shop").where(Host.id == web1.id).execute()

    assert "shop" in str(tab.next())


def test_the_job_page_moves_and_its_log_grows(bob: Browser, bus: EventBus, job: Job) -> None:
    add_lines(job, 1, 2)
    tab = Tab(bob, f"/live/jobs/{job.id}?after=2")
    first = tab.next()
    Job.update(state="running", started_at=cast.NOW, command="restic backup").where(Job.id == job.id).execute()
    add_lines(job, 3, 4)

    bus.publish(JobLogGrew(job.id, job.host_id))
    bus.publish(JobChanged(job.id, job.host_id))
    news = tab.next()

    assert "#job-log-lines" not in targets(first)
    log = part(news, "#job-log-lines")
    assert log["hx-swap"] == "beforeend"
    assert [line.get_text() for line in log.select(".log__line > span")] == ["line 3", "line 4"]
    assert news.event_id == "4"
    assert "restic backup" in part(news, "#job-command").get_text()


def test_the_log_resumes_after_the_last_line_that_the_browser_has(bob: Browser, job: Job) -> None:
    add_lines(job, 1, 5)

    tab = Tab(bob, f"/live/jobs/{job.id}?after=1", **{"Last-Event-ID": "3"})

    lines = part(tab.next(), "#job-log-lines").select(".log__line > span")
    assert [line.get_text() for line in lines] == ["line 4", "line 5"]


@pytest.mark.parametrize("after", ["", "-1", "x", "9" * 30])
def test_a_senseless_position_sends_the_log_anew(bob: Browser, job: Job, after: str) -> None:
    add_lines(job, 1, 2)

    tab = Tab(bob, f"/live/jobs/{job.id}?after={after}")

    assert part(tab.next(), "#job-log-lines")["hx-swap"] == "outerHTML"


def test_a_flood_of_lines_replaces_the_log_so_that_the_page_stays_small(app: Flask, job: Job) -> None:
    add_lines(job, 1, 10)
    view = JobView(app, job.id, role="viewer", after_n=10)
    add_lines(job, 11, 2500)

    fragment = view.everything(cast.NOW)[-1]

    lines = BeautifulSoup(fragment.html, "html.parser").select(".log__line")
    assert fragment.swap == "outerHTML"
    assert len(lines) == 1000
    assert view.after_n == 2500


def test_the_page_that_waits_turns_green(bob: Browser, bus: EventBus) -> None:
    token, plain = enrolments.mint_token(bus, actor=cast.BOB, now=cast.NOW)
    tab = Tab(bob, f"/live/enrolments/{token.id}")
    waiting = tab.next()
    applicant = enrolments.Applicant("web1", "linux", "amd64", "0.1.0", 1, "machine")
    host_id = enrolments.enrol(bus, token=plain, applicant=applicant, address="192.0.2.7", now=cast.NOW).host_id
    enrolled = tab.next()
    Host.update(first_hello_at=cast.NOW).where(Host.id == host_id).execute()
    bus.publish(HostChanged(host_id))
    connected = tab.next()

    assert "Waiting for the host" in part(waiting, "#waiting").get_text()
    assert "about to connect" in part(enrolled, "#waiting").get_text()
    assert part(connected, "#waiting").select_one(".card--ok")
    assert plain not in str(waiting)


def test_a_removed_host_ends_its_pages_with_a_word(bob: Browser, bus: EventBus, web1: EnrolledHost) -> None:
    tab = Tab(bob, f"/live/hosts/{web1.id}?tab=overview")
    tab.next()

    Host.delete().execute()
    bus.publish(HostRemoved(web1.id))

    assert "was removed" in part(tab.next(), "#flash").get_text()
    assert tab.is_over()


def test_a_silent_stream_shows_that_it_lives(charlie: Browser) -> None:
    tab = Tab(charlie, "/live/fleet")
    tab.next()

    assert next(tab._events) == live.SIGN_OF_LIFE


def test_a_stream_ends_when_the_server_stops(charlie: Browser, bus: EventBus) -> None:
    tab = Tab(charlie, "/live/fleet")
    tab.next()

    bus.close()

    assert tab.is_over()
    assert bus.count_listeners() == 0


@pytest.mark.parametrize("ending", ["signed out", "disabled", "another role"])
def test_a_stream_ends_with_its_session(charlie: Browser, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    monkeypatch.setattr(live, "CHECK_SECONDS", 0.0)
    tab = Tab(charlie, "/live/fleet")
    tab.next()

    if ending == "signed out":
        Session.delete().execute()
    elif ending == "disabled":
        User.update(is_enabled=False).where(User.id == "charlie").execute()
    else:
        User.update(role="operator").where(User.id == "charlie").execute()

    assert tab.is_over()


def test_signed_out_streams_are_refused_so_that_htmx_does_not_swap_a_login_page(stranger: Browser) -> None:
    answer = stranger.get("/live/fleet")

    assert answer.status == 401
    assert answer.response.json is not None


def test_a_host_that_turns_late_is_noticed_without_any_event(app: Flask, parts: Runtime, web1: EnrolledHost) -> None:
    Host.update(first_hello_at=cast.NOW).where(Host.id == web1.id).execute()
    cast.backed_up(parts.bus, web1.id, cast.NOW)
    shared = SharedParts(app, parts.bus)
    sent = Sent()
    sent.news(shared.rows([web1.id], cast.NOW))

    [row] = sent.news(shared.rows([web1.id], cast.NOW + timedelta(hours=27)))

    assert "Late" in row.html


def test_only_what_differs_is_sent_again() -> None:
    sent = Sent()
    same, other, appended = Fragment("#a", "1"), Fragment("#a", "2"), Fragment("#log", "x", "beforeend")

    assert sent.news([same]) == [same]
    assert sent.news([same, appended]) == [appended]
    assert sent.news([other, appended]) == [other, appended]


def test_a_fragment_with_line_breaks_is_one_event() -> None:
    text = fragments.message([Fragment("#a", "<p>\n\n x\r\ny</p>")], id="7")

    assert text.startswith("id: 7\ndata: <hx-partial")
    assert text.endswith("</hx-partial>\n\n")
    assert text.count("\n\n") == 1


@pytest.mark.parametrize(
    "act",
    [
        lambda parts: users.disable(parts.bus, user_id="bob", actor=cast.ALICE, now=cast.NOW),
        lambda parts: users.set_role(parts.bus, user_id="bob", role="viewer", actor=cast.ALICE, now=cast.NOW),
        lambda parts: users.remove(parts.bus, user_id="bob", typed_name="bob", actor=cast.ALICE, now=cast.NOW),
        lambda parts: sessions.revoke(
            parts.bus, user_id="bob", session_id=Session.get().id, actor=cast.BOB, now=cast.NOW
        ),
        lambda parts: sessions.log_out(
            parts.bus, session_token=BOBS_TOKEN[0], actor=cast.BOB, now=cast.NOW
        ),
    ],
    ids=["disabled", "another role", "removed", "session revoked", "signed out"],
)  # fmt: skip
def test_a_stream_ends_at_once_with_what_its_person_may_do(
    parts: Runtime, bob: Browser, monkeypatch: pytest.MonkeyPatch, act: Callable[[Runtime], object]
) -> None:
    monkeypatch.setattr(live, "CHECK_SECONDS", 3600)
    cookie = bob.client.get_cookie("rm_session")
    assert cookie is not None
    BOBS_TOKEN[:] = [cookie.value]
    tab = Tab(bob, "/live/alerts")
    tab.next()

    act(parts)

    assert tab.is_over()


BOBS_TOKEN: list[str] = []


def test_a_stream_goes_on_when_somebody_else_is_disabled(
    parts: Runtime, bob: Browser, web1: EnrolledHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "CHECK_SECONDS", 3600)
    tab = Tab(bob, f"/live/hosts/{web1.id}")
    tab.next()

    users.disable(parts.bus, user_id="charlie", actor=cast.ALICE, now=cast.NOW)
    Host.update(name="renamed").execute()
    parts.bus.publish(HostChanged(web1.id))

    assert "renamed" in tab.next().get_text()
