"""Notifications on a real server: set up in a browser without scripts, sent through real services."""

import json
import threading
from collections.abc import Callable

import pytest
import requests

from tests.browser.conftest import DESK, Server, Watched, set_up, sign_in, wait_for
from tests.notifiers.servers import http_server, smtp_server

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def add_channel(watched: Watched, name: str, url: str, *, kind: str = "Message to people") -> None:
    page = watched.go("/settings/notifications/new")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label(kind).check()
    page.get_by_label("URL", exact=True).fill(url)
    page.get_by_role("button", name="Save channel").click()
    page.get_by_role("heading", name=name, exact=True).wait_for()


def test_channels_are_added_and_tested_without_scripts_under_the_real_worker(
    server: Server, open_page: Callable[..., Watched]
) -> None:
    set_up(open_page())
    watched = open_page(java_script_enabled=False, viewport=DESK)
    sign_in(watched)
    with http_server() as ntfy, http_server() as hook, smtp_server() as mailbox:
        add_channel(watched, "ntfy", f"ntfy://127.0.0.1:{ntfy.port}/backups")
        watched.page.get_by_role("button", name="Send test").click()
        watched.page.get_by_text("The test was taken").wait_for()
        assert b"Nothing is wrong" in ntfy.requests[0].body

        add_channel(watched, "mail", f"mailto://127.0.0.1:{mailbox.port}?from=rm@a.net&to=ops@a.net&mode=insecure")
        watched.page.get_by_role("button", name="Send test").click()
        watched.page.get_by_text("The test was taken").wait_for()
        assert "[test]" in mailbox.messages[0]["Subject"]

        add_channel(watched, "hook", f"{hook.url}/secret-path", kind="JSON webhook")
        assert watched.page.locator("#webhook-secret").inner_text().startswith("whsec_")
        hook.says(503)
        watched.page.get_by_role("button", name="Send test").click()
        watched.page.get_by_text("it answered 503").wait_for()
        assert json.loads(hook.requests[0].body)["event"] == "test"
    assert "secret-path" not in watched.page.content()
    assert "secret-path" not in server.log()


def test_a_service_that_takes_its_time_keeps_nobody_else_waiting(
    server: Server, open_page: Callable[..., Watched]
) -> None:
    watched = open_page()
    set_up(watched)
    with http_server() as slow:
        may_answer = threading.Event()
        slow.answer = lambda request, handler: (500 if may_answer.wait(60) else 200, {}, b"")
        add_channel(watched, "slow", f"ntfy://127.0.0.1:{slow.port}/backups")
        watched.page.get_by_role("button", name="Send test").click(no_wait_after=True)
        wait_for(lambda: len(slow.requests) > 0, "the service to be asked")
        answers = [requests.get(f"{server.url}/healthz", timeout=20).status_code for _ in range(20)]
        assert answers == [200] * 20
        may_answer.set()
        watched.page.get_by_text("The test was not taken").wait_for()
