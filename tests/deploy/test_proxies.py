"""The reverse proxies that the documentation offers, in front of the real server: agents, live pages, downloads."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from demo.person import Person
from demo.processes import free_port
from tests.install.doors import make_ca
from tests.install.server import PASSWORD, ROOT, Server, build_agent, until

pytestmark = pytest.mark.timeout(240)

INVENTED = "203.0.113.9"


@dataclass
class Front:
    """A proxy that runs, and what is behind it."""

    url: str
    plain_url: str
    ca: Path
    server: Server

    def get(self, path: str, **options: object) -> requests.Response:
        return requests.get(f"{self.url}{path}", verify=str(self.ca), timeout=30, **options)  # type: ignore[arg-type]


def program(package: str, path: str) -> str:
    found = subprocess.run(
        [str(ROOT / "scripts" / "unpacked"), "--where", package, path], capture_output=True, text=True, check=False
    )
    if found.returncode != 0:
        pytest.skip(f"needs {package}, which is missing (scripts/unpacked {package} {path})")
    return found.stdout.strip()


def nginx(place: Path, https: int, http: int, upstream: int, both: Path) -> list[str]:
    """The shipped file, with this test's ports and certificate in it."""
    shipped = (ROOT / "deploy" / "nginx" / "restic-manager.conf").read_text()
    for before, after in (
        ("listen 443 ssl http2;", f"listen 127.0.0.1:{https} ssl http2;"),
        ("listen 80;", f"listen 127.0.0.1:{http};"),
        ("backup.example.org", "localhost"),
        ("https://$host$request_uri", f"https://$host:{https}$request_uri"),
        ("/etc/ssl/restic-manager/fullchain.pem", str(both)),
        ("/etc/ssl/restic-manager/key.pem", str(both)),
        ("http://127.0.0.1:8080", f"http://127.0.0.1:{upstream}"),
    ):
        assert before in shipped
        shipped = shipped.replace(before, after)
    temporary = "".join(
        f"{kind}_temp_path {place / kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;\n" if os.getuid() == 0 else ""
    (place / "nginx.conf").write_text(
        f"{user}daemon off;\nworker_processes 1;\npid {place / 'pid'};\nerror_log {place / 'error.log'};\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{temporary}{shipped}\n}}\n"
    )
    return [program("nginx", "usr/sbin/nginx"), "-p", str(place), "-c", str(place / "nginx.conf")]


def caddy(place: Path, https: int, http: int, upstream: int, both: Path) -> list[str]:
    """The shipped file, with a certificate in it where Caddy would get one from the internet."""
    shipped = (ROOT / "deploy" / "caddy" / "Caddyfile").read_text()
    shipped = shipped.replace("\treverse_proxy", f"\ttls {both} {both}\n\treverse_proxy", 1)
    shipped = shipped.replace("{$RM_HOST:backup.example.org}", "localhost")
    shipped = shipped.replace("{$RM_UPSTREAM:127.0.0.1:8080}", f"127.0.0.1:{upstream}")
    assert f"127.0.0.1:{upstream}" in shipped
    (place / "Caddyfile").write_text(
        f"{{\n\tadmin off\n\thttps_port {https}\n\thttp_port {http}\n\tskip_install_trust\n"
        f"\tdefault_bind 127.0.0.1\n\tstorage file_system {place / 'storage'}\n}}\n{shipped}"
    )
    return [program("caddy", "usr/bin/caddy"), "run", "--config", str(place / "Caddyfile"), "--adapter", "caddyfile"]


PROXIES: dict[str, Callable[[Path, int, int, int, Path], list[str]]] = {"nginx": nginx, "caddy": caddy}


@pytest.fixture(scope="module", params=sorted(PROXIES))
def front(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    place = tmp_path_factory.mktemp(request.param)
    ca, both = make_ca(place / "ca", "localhost")
    https, http, upstream = free_port(), free_port(), free_port()
    command = PROXIES[request.param](place, https, http, upstream, both)
    build_agent()
    server = Server(
        place / "server", base_url=f"https://localhost:{https}", port=upstream,
        settings={"RM_COOKIE_SECURE": "true", "RM_TRUSTED_PROXY": "127.0.0.1/32"},
    )  # fmt: skip
    with (place / "proxy.log").open("ab") as log:
        proxy = subprocess.Popen(command, env=os.environ | {"HOME": str(place)}, stdout=log, stderr=log)
    found = Front(f"https://localhost:{https}", f"http://localhost:{http}", ca, server)
    try:
        person = Person(found.url, ca=ca)
        server.start(person)
        yield found
    finally:
        server.stop()
        proxy.send_signal(signal.SIGTERM)
        proxy.wait(20)


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
