"""Calls of this server to addresses that a person typed: no redirects, no proxies, and never to link-local."""

import http.client
import os
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from rm.domain import addresses
from rm.errors import RmError

URL_LIMIT = 2000
AGENT = "restic-manager"
TRUST_SECONDS = 600.0
_contexts: dict[tuple[str, str, str], tuple[float, ssl.SSLContext]] = {}


class CallFailed(RmError):
    """Nothing usable came back; the message says why and names neither path nor password."""

    status = 502
    code = "call_failed"


class AddressRefused(CallFailed):
    """The URL leads, or might lead, where this server does not go."""

    status = 422
    code = "address_refused"


@dataclass(frozen=True)
class Answer:
    """What came back; header names are in lower case."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def url_problem(url: str) -> str | None:
    """What is wrong with a URL before anything is asked of a name server, or None."""
    try:
        _split(url)
    except AddressRefused as error:
        return error.message
    return None


def shown(url: str) -> str:
    """Scheme and host of a URL; whatever else there is may be a secret."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return f"{parts.scheme}://{host}{port}/…"


def call(
    method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None,
    seconds: float = 15, most_bytes: int = 64 * 1024, cuts: bool = False,
    ca_file: Path | None = None,
) -> Answer:  # fmt: skip
    """One request to the address that was checked, with an end after `seconds`; a redirect is an answer like others.

    A body beyond `most_bytes` is refused, or cut off when `cuts`. `ca_file` takes the place of the usual certificates.
    Raises CallFailed, of which AddressRefused is one.
    """
    parts = _split(url)
    until = time.monotonic() + seconds
    connection = _Pinned(parts, _resolve(parts, until), until, ca_file)
    sent = {"User-Agent": AGENT, "Accept": "*/*", "Connection": "close"} | _sign_in(parts) | dict(headers or {})
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    with _cut_off(connection, until) as is_late:
        try:
            connection.request(method, target, body=body, headers=sent)
            response = connection.getresponse()
            read = response.read(most_bytes + 1)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise CallFailed(_late(seconds) if is_late() else _reason(error)) from None
        if is_late():
            raise CallFailed(_late(seconds))
    if len(read) > most_bytes and not cuts:
        raise CallFailed(f"the answer is larger than {most_bytes} bytes")
    return Answer(response.status, read[:most_bytes], {name.lower(): value for name, value in response.getheaders()})


class _Pinned(http.client.HTTPConnection):
    """A connection to one of the checked addresses, under the name that the URL gives."""

    def __init__(self, parts: SplitResult, found: list[str], until: float, ca_file: Path | None) -> None:
        super().__init__(_host(parts), _port(parts))
        self._found = found
        self._until = until
        self._ca_file = ca_file
        self._is_secure = parts.scheme == "https"
        # http.client lets go of `sock` as soon as the head of an answer is there; its body may still drip in.
        self.wire: socket.socket | None = None

    def connect(self) -> None:
        failed: OSError | None = None
        for address in self._found:
            left = self._until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            try:
                self.sock = self.wire = socket.create_connection((address, self.port), timeout=left)
            except OSError as error:
                failed = error
                continue
            break
        else:
            raise failed or OSError("there is no address")
        if self._is_secure:
            context = _trusting(self._ca_file)
            # The handshake comes after the assignment, so that the time limit reaches it too.
            self.sock = self.wire = context.wrap_socket(
                self.sock, server_hostname=self.host, do_handshake_on_connect=False
            )
            self.sock.do_handshake()


@contextmanager
def _cut_off(connection: _Pinned, until: float) -> Iterator:
    """End the connection at `until`, however slowly bytes still drip in."""
    late = threading.Event()

    def cut() -> None:
        late.set()
        if connection.wire is not None:
            try:
                connection.wire.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    timer = threading.Timer(max(0.0, until - time.monotonic()), cut)
    timer.daemon = True
    timer.start()
    try:
        yield late.is_set
    finally:
        timer.cancel()
        connection.close()


def _split(url: str) -> SplitResult:
    if len(url) > URL_LIMIT or not url.isprintable() or " " in url:
        raise AddressRefused(f"Use at most {URL_LIMIT} printable characters without spaces.")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise AddressRefused("This is no URL.") from None
    if parts.scheme not in ("http", "https"):
        raise AddressRefused("Start with https:// or http://.")
    if not host or port == 0 or "%" in host:
        raise AddressRefused("The URL names no host.")
    if not (parts.path + parts.query).isascii():
        raise AddressRefused("Write what is not ASCII in the URL with percent signs.")
    literal = addresses.literal(host)
    problem = addresses.problem(literal) if literal else None
    if problem:
        raise AddressRefused(f"{host} {problem}.")
    return parts


def _host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    try:
        return host if ":" in host else host.encode("idna").decode("ascii")
    except UnicodeError:
        raise AddressRefused("The URL names no host.") from None


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def _resolve(parts: SplitResult, until: float) -> list[str]:
    """Every address of the name; raises AddressRefused if one of them is refused, for the next answer may be that."""
    host = _host(parts)
    literal = addresses.literal(host)
    answers = [literal] if literal else _asked(host, max(0.1, until - time.monotonic()))
    found = list(dict.fromkeys(answers))
    for address in found:
        problem = addresses.problem(address)
        if problem:
            raise AddressRefused(f"{host} leads to {address}, which {problem}.")
    return found


def _asked(host: str, seconds: float) -> list[str]:
    """The addresses that a name server gives; raises CallFailed for none, or none in time."""
    found: list[str] | None = None

    def ask() -> None:
        nonlocal found
        try:
            found = [str(answer[4][0]) for answer in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
        except (OSError, UnicodeError):
            found = []

    # A thread of this call's own. Under gevent it is a greenlet of the real thread that runs this call, and a pool
    # would keep its greenlets in the first such thread, where nobody wakes them for the others.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(seconds)
    if found is None:
        raise CallFailed(f"the name {host} could not be resolved in time")
    if not found:
        raise CallFailed(f"the name {host} could not be resolved")
    return found


def _sign_in(parts: SplitResult) -> dict[str, str]:
    if parts.username is None:
        return {}
    plain = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": f"Basic {b64encode(plain.encode()).decode()}"}


def _trusting(ca_file: Path | None) -> ssl.SSLContext:
    """What certificates are checked against: reading a machine's bundle takes 50 ms, in which nothing else runs."""
    key = (str(ca_file or ""), os.environ.get("SSL_CERT_FILE", ""), os.environ.get("SSL_CERT_DIR", ""))
    read_at, context = _contexts.get(key, (0.0, None))
    if context is None or time.monotonic() - read_at > TRUST_SECONDS:
        context = ssl.create_default_context(cafile=ca_file)
        _contexts[key] = (time.monotonic(), context)
    return context


def _late(seconds: float) -> str:
    return f"there was no complete answer within {seconds:g} s"


def _reason(error: Exception) -> str:
    """Why a call failed, in words that quote nothing of what was sent or received."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate was not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return "the TLS handshake failed"
    if isinstance(error, ConnectionRefusedError):
        return "the connection was refused"
    if isinstance(error, TimeoutError):
        return "there was no answer in time"
    if isinstance(error, ConnectionError):
        return "the connection was closed before an answer came"
    if isinstance(error, OSError):
        return f"the connection failed: {error.strerror or type(error).__name__}"
    return "what came back is no HTTP answer"
