"""Canaille, an OpenID Connect provider from PyPI, as a process of its own with a database of its own."""

import json
import os
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / ".venv-oidc" / "bin"
READY_SECONDS = 60
CLIENT_ID, CLIENT_SECRET = "restic-manager", "a secret of the provider"
PASSWORD = "one password for everybody here"

_SETTINGS = """
SECRET_KEY = "only for tests"
SERVER_NAME = "{address}"
PREFERRED_URL_SCHEME = "http"
[CANAILLE]
DATABASE = "sql"
FORCE_HTTPS = false
[CANAILLE_SQL]
DATABASE_URI = "sqlite:///{directory}/provider.sqlite"
[CANAILLE_OIDC]
ACTIVE_JWKS = [{key}]
[CANAILLE_OIDC.USERINFO_MAPPING]
SUB = "{{{{ user.user_name }}}}-subject"
PREFERRED_USERNAME = "{{{{ user.display_name or user.user_name }}}}"
"""


@dataclass
class Provider:
    """The provider's process and its command line; people and groups are changed while it runs."""

    directory: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def set_up(self, redirects: list[str], groups: dict[str, list[str]]) -> None:
        """The database with this server as client, and people in groups, by the provider's own restore."""
        key = _make_key()
        settings = _SETTINGS.format(address=f"127.0.0.1:{self.port}", directory=self.directory, key=key)
        (self.directory / "canaille.toml").write_text(settings)
        client = {
            "id": "client",
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "client_name": "restic-manager",
            "client_uri": "http://127.0.0.1",
            "redirect_uris": redirects,
            "audience": ["client"],
            "grant_types": ["authorization_code"],
            "response_types": ["code"],
            "scope": ["openid", "profile", "groups"],
            "token_endpoint_auth_method": "client_secret_basic",
        }
        names = sorted({name for members in groups.values() for name in members})
        users = [
            {"id": name, "user_name": name, "family_name": name, "formatted_name": name, "display_name": name,
             "emails": [f"{name}@example.net"], "password": PASSWORD}
            for name in names
        ]  # fmt: skip
        listed = [{"id": group, "display_name": group, "members": members} for group, members in groups.items()]
        self.run("install")
        self.run("restore", said=json.dumps({"user": users, "group": listed, "client": [client]}))

    def put_into(self, group: str, *names: str) -> None:
        """Only these people are in the group from now on."""
        members = [part for name in names for part in ("--members", name)]
        self.run("set", "group", group, *members)

    def call(self, name: str, shown: str) -> None:
        """Give somebody another name to be called by."""
        self.run("set", "user", name, "--display-name", shown)

    def start(self) -> None:
        """Serve until `stop`; returns when the discovery document is there."""
        command = [
            str(PROGRAMS / "flask"), "--app", "canaille:create_app", "run", "--port", str(self.port),
            "--without-threads",  # its SQLite file takes one writer at a time
        ]  # fmt: skip
        log = (self.directory / "provider.log").open("ab")
        self.process = subprocess.Popen(command, cwd=self.directory, env=self._environment(), stdout=log, stderr=log)
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until:
            if self.process.poll() is not None:
                break
            try:
                if requests.get(f"{self.issuer}/.well-known/openid-configuration", timeout=10).ok:
                    return
            except requests.RequestException:
                time.sleep(0.1)
        raise AssertionError((self.directory / "provider.log").read_text()[-4000:])

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)
            self.process = None

    def run(self, *arguments: str, said: str | None = None) -> str:
        """Its command line; raises AssertionError with what it said."""
        done = subprocess.run(
            [str(PROGRAMS / "canaille"), *arguments],
            cwd=self.directory, env=self._environment(), input=said, capture_output=True, text=True,
            timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "CANAILLE_CONFIG": str(self.directory / "canaille.toml")}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def _make_key() -> str:
    """A fresh RSA key in the form that the provider's settings want."""
    from joserfc.jwk import RSAKey

    key: dict[str, Any] = RSAKey.generate_key(2048, {"use": "sig"}, private=True, auto_kid=True).as_dict(private=True)
    return "{" + ", ".join(f"{name} = {json.dumps(value)}" for name, value in key.items()) + "}"
