"""The reverse proxies that the documentation offers, each in front of a real server, with a private CA."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from demo.person import Person
from demo.processes import free_port
from tests.install.doors import make_ca
from tests.install.server import ROOT, Server, build_agent


@dataclass
class Front:
    """A proxy that runs, and what is behind it."""

    url: str
    plain_url: str
    ca: Path
    server: Server

    def get(self, path: str, *, headers: dict[str, str] | None = None) -> requests.Response:
        return requests.get(f"{self.url}{path}", verify=str(self.ca), timeout=30, headers=headers)


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


@contextmanager
def fronted(name: str, place: Path) -> Iterator[Front]:
    """A server behind the proxy of that name, both on loopback, until the block ends."""
    ca, both = make_ca(place / "ca", "localhost")
    https, http, upstream = free_port(), free_port(), free_port()
    command = PROXIES[name](place, https, http, upstream, both)
    build_agent()
    server = Server(
        place / "server", base_url=f"https://localhost:{https}", port=upstream,
        settings={"RM_COOKIE_SECURE": "true", "RM_TRUSTED_PROXY": "127.0.0.1/32"},
    )  # fmt: skip
    with (place / "proxy.log").open("ab") as log:
        proxy = subprocess.Popen(command, env=os.environ | {"HOME": str(place)}, stdout=log, stderr=log)
    found = Front(f"https://localhost:{https}", f"http://localhost:{http}", ca, server)
    try:
        server.start(Person(found.url, ca=ca))
        yield found
    finally:
        server.stop()
        proxy.send_signal(signal.SIGTERM)
        proxy.wait(20)
