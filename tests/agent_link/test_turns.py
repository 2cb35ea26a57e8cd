"""Downloads take turns, and nothing else does."""

import threading

import pytest

from rm.agent_link.turns import TurnsMiddleware

PATIENCE = 30
BRIEFLY = 0.05


class Application:
    """Says when a request has reached it, and holds it up until it may go on."""

    def __init__(self):
        self.reached = threading.Semaphore(0)
        self.may_go_on = threading.Semaphore(0)

    def __call__(self, environ, start_response):
        self.reached.release()
        assert self.may_go_on.acquire(timeout=PATIENCE)
        if environ["PATH_INFO"].endswith("broken"):
            raise ValueError("broken")
        return [b"the ", b"agent"]


@pytest.fixture
def application():
    return Application()


@pytest.fixture
def request_in_background(application):
    turns = TurnsMiddleware(application)
    threads = []

    def ask(path, method="GET"):
        def run():
            try:
                turns({"REQUEST_METHOD": method, "PATH_INFO": path}, lambda *_: None)
            except ValueError:
                return

        threads.append(threading.Thread(target=run, daemon=True))
        threads[-1].start()

    yield ask
    for _ in threads:
        application.may_go_on.release()
    for thread in threads:
        thread.join(PATIENCE)


def test_a_download_waits_for_the_one_before(application, request_in_background):
    request_in_background("/agent/artifact/1")
    assert application.reached.acquire(timeout=PATIENCE)

    request_in_background("/agent/artifact/2")

    assert not application.reached.acquire(timeout=BRIEFLY)
    application.may_go_on.release()
    assert application.reached.acquire(timeout=PATIENCE)


@pytest.mark.parametrize("path", ["/ws/agent", "/healthz", "/hosts", "/api/v1/agents"])
def test_all_else_waits_for_no_download(application, request_in_background, path):
    request_in_background("/agent/artifact/1")
    assert application.reached.acquire(timeout=PATIENCE)

    request_in_background(path)

    assert application.reached.acquire(timeout=PATIENCE)


def test_a_body_that_never_comes_holds_up_no_download(application, request_in_background):
    request_in_background("/agent/enroll", "POST")
    assert application.reached.acquire(timeout=PATIENCE)

    request_in_background("/agent/artifact/1")

    assert application.reached.acquire(timeout=PATIENCE)


def test_a_download_that_breaks_passes_its_turn_on(application, request_in_background):
    request_in_background("/agent/artifact/broken")
    assert application.reached.acquire(timeout=PATIENCE)
    application.may_go_on.release()

    request_in_background("/agent/artifact/2")

    assert application.reached.acquire(timeout=PATIENCE)


def test_who_reads_slowly_holds_up_no_other_download(application):
    turns = TurnsMiddleware(application)
    application.may_go_on.release(2)

    unread = turns({"REQUEST_METHOD": "GET", "PATH_INFO": "/agent/artifact/1"}, lambda *_: None)
    other = turns({"REQUEST_METHOD": "GET", "PATH_INFO": "/agent/artifact/2"}, lambda *_: None)

    assert b"".join(other) == b"".join(unread) == b"the agent"
