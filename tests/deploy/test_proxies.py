"""The reverse proxies that the documentation offers, in front of the real server: agents, live pages, downloads."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.deploy.proxies import PROXIES, Front, fronted
from tests.install.server import PASSWORD, ROOT, until

pytestmark = pytest.mark.timeout(240)

INVENTED = "203.0.113.9"


@pytest.fixture(scope="module", params=sorted(PROXIES))
def front(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with fronted(request.param, tmp_path_factory.mktemp(request.param)) as found:
        yield found


def test_an_agent_comes_in_and_stays_connected(front: Front, tmp_path: Path) -> None:
    token = front.server.person.ask("POST", "/enrolment-tokens", {"max_uses": 1})["token"]
    root = tmp_path / "host"
    root.mkdir()
    agent = [sys.executable, "-m", "agent", "--root", str(root)]
    done = subprocess.run(
        [*agent, "enroll", "--server", front.url, "--ca-file", str(front.ca)],
        cwd=ROOT, env=os.environ | {"RM_TOKEN": token}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with (root / "agent.log").open("ab") as log:
        process = subprocess.Popen([*agent, "run"], cwd=ROOT, stdout=log, stderr=log)
    try:
        until(lambda: front.server.person.ask("GET", "/hosts")["items"][0]["status"] == "online", "it to be online")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(40)


def test_a_live_page_gets_its_first_piece_at_once_and_not_when_a_buffer_is_full(front: Front) -> None:
    front.server.person.watch("/live/fleet").close()


def test_whoever_calls_cannot_invent_an_address(front: Front) -> None:
    answer = requests.post(
        f"{front.url}/login", data={"username": "mallory", "password": "x" * 20}, verify=str(front.ca), timeout=30,
        headers={"X-Forwarded-For": INVENTED, "Sec-Fetch-Site": "same-origin"},
    )  # fmt: skip

    assert answer.status_code == 401
    told = front.server.person.page("/audit?q=unknown+name")
    assert "127.0.0.1" in told
    assert INVENTED not in told


def test_the_cookie_is_for_https_alone_and_plain_http_leads_there(front: Front) -> None:
    session = requests.Session()
    answer = session.post(
        f"{front.url}/login", data={"username": "alice", "password": PASSWORD}, verify=str(front.ca), timeout=30,
        headers={"Sec-Fetch-Site": "same-origin"}, allow_redirects=False,
    )  # fmt: skip
    plain = requests.get(front.plain_url, timeout=30, allow_redirects=False)

    assert re.search(r"; Secure", answer.headers["Set-Cookie"])
    assert plain.status_code in (301, 308)
    assert plain.headers["Location"].startswith("https://localhost")


def test_a_download_can_be_resumed(front: Front) -> None:
    whole = front.get("/agent/binary?os=linux&arch=any").content

    rest = front.get("/agent/binary?os=linux&arch=any", headers={"Range": "bytes=1000-"})

    assert rest.status_code == 206
    assert rest.content == whole[1000:]
