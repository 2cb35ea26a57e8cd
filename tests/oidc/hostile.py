"""A provider that lies: it signs what a test tells it to, and answers as no real one would."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.oidc.provider import CLIENT_ID

Reply = tuple[int, dict[str, str], bytes]


def as_json(value: object, status: int = 200) -> Reply:
    return status, {"Content-Type": "application/json"}, json.dumps(value).encode()


@dataclass
class HostileProvider:
    """Answers rightly, unless `replies` has another answer for a path or `change` another token."""

    key: RSAKey
    other_key: RSAKey
    replies: dict[str, Callable[[], Reply]] = field(default_factory=dict)
    change: dict[str, Any] = field(default_factory=dict)
    token: Callable[[dict[str, Any]], str] | None = None
    told: dict[str, Any] = field(default_factory=lambda: {"sub": "erin-subject"})
    nonce: str = ""
    asked: list[str] = field(default_factory=list)
    drips: float = 0
    issuer: str = ""

    def claims(self) -> dict[str, Any]:
        """The claims of an ID token, true ones except for `change`; None takes one away."""
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": self.issuer, "sub": "erin-subject", "aud": CLIENT_ID, "exp": now + 300, "iat": now,
            "nonce": self.nonce, "groups": ["rm-admins"], "preferred_username": "erin",
        }  # fmt: skip
        return {name: value for name, value in (claims | self.change).items() if value is not None}

    def sign(self, claims: dict[str, Any], *, key: RSAKey | None = None, **header: Any) -> str:
        key = key or self.key
        return jwt.encode({"alg": "RS256", "kid": self.key.kid} | header, claims, key)

    def sign_with_secret(self, claims: dict[str, Any], secret: bytes, alg: str = "HS256") -> str:
        """What a library that lets the token choose would take: the HMAC with something that is no secret."""
        signed = ".".join(_b64(json.dumps(part).encode()) for part in ({"alg": alg, "kid": self.key.kid}, claims))
        mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest() if alg == "HS256" else b""
        return f"{signed}.{_b64(mac)}"

    def answer(self, path: str) -> Reply:
        if path in self.replies:
            return self.replies[path]()
        if path == "/.well-known/openid-configuration":
            names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "userinfo_endpoint": "userinfo",
                     "jwks_uri": "jwks"}  # fmt: skip
            return as_json({"issuer": self.issuer} | {key: f"{self.issuer}/{name}" for key, name in names.items()})
        if path == "/jwks":
            return as_json({"keys": [self.key.as_dict(private=False)]})
        if path == "/token":
            claims = self.claims()
            token = self.token(claims) if self.token else self.sign(claims)
            return as_json({"access_token": "at", "token_type": "Bearer", "expires_in": 60, "id_token": token})
        if path == "/userinfo":
            return as_json(self.told)
        return as_json({}, 404)


def serve(provider: HostileProvider) -> ThreadingHTTPServer:
    """A server on loopback that answers as the provider says; the caller shuts it down."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            provider.asked.append(self.path)
            self._send(provider.answer(self.path.partition("?")[0]))

        def do_POST(self) -> None:
            provider.asked.append(self.path)
            dict(parse_qsl(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()))
            self._send(provider.answer(self.path))

        def _send(self, reply: Reply) -> None:
            status, headers, body = reply
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                if not provider.drips:
                    self.wfile.write(body)
                    return
                for byte in body:
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                    time.sleep(provider.drips)
            except OSError:
                return

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    provider.issuer = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
