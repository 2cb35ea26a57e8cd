"""One way out for HTTP and WebSocket: the same TLS context, private CA and proxy for both."""

import base64
import codecs
import contextlib
import ipaddress
import json
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3
import websocket

from agent.config import Config
from agent.errors import ConfigurationError

# Looked up now, because Python loads them at first use, and by then the agent's file may be another one.
for _codec in ("ascii", "idna", "latin-1", "utf-8"):
    codecs.lookup(_codec)

CONNECT_SECONDS = 15.0
READ_SECONDS = 30.0
MAX_ANSWER_BYTES = 1024 * 1024
MAX_ERROR_BYTES = 16 * 1024

_KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000),
)


class Unreachable(Exception):
    """The server did not answer; the text says in one sentence what stands in the way."""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer: status, headers, and the JSON object in its body if there is one; or else a list, in `items`."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]
    items: list[Any] = field(default_factory=list)

    @property
    def error_code(self) -> str:
        error = self.body.get("error")
        return str(error.get("code", "")) if isinstance(error, dict) else ""

    @property
    def error_text(self) -> str:
        error = self.body.get("error")
        if not isinstance(error, dict):
            return ""
        return " ".join(str(error.get(part) or "") for part in ("message", "help")).strip()


@dataclass(frozen=True)
class File:
    """A small file as it came; `error_code` is the server's own, if that is what came instead."""

    status: int
    data: bytes
    error_code: str


class Download:
    """An answer whose body is read piece by piece."""

    def __init__(self, answer: "urllib3.BaseHTTPResponse", config: Config) -> None:
        self._answer = answer
        self._config = config
        self.status = answer.status
        self.headers = {name.lower(): value for name, value in answer.headers.items()}

    def read(self, size: int) -> bytes:
        """The next bytes, none at the end. Raises Unreachable."""
        try:
            return bytes(self._answer.read(size, decode_content=False))
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unreachable(explain(error, self._config)) from error

    def error_code(self) -> str:
        """The server's own word for what is wrong, empty when it sends the file or somebody else answers."""
        if self.status in (200, 206):
            return ""
        return Answer(self.status, self.headers, _json_object(self.read(MAX_ERROR_BYTES))).error_code


class Transport:
    """Dials the server for HTTP requests and for the WebSocket."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.context = tls_context(config.ca_file)
        self._uses_proxy = bool(config.proxy) and not bypasses_proxy(
            urlsplit(config.server).hostname or "", config.no_proxy
        )
        self._pool = self._make_pool()

    def request(
        self,
        method: str,
        path: str,
        *,
        body: dict[str, Any] | None = None,
        token: str = "",
        user: tuple[str, str] | None = None,
        timeout_seconds: float = READ_SECONDS,
    ) -> Answer:
        """The server's answer, whatever its status; redirects are not followed. Raises Unreachable."""
        headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        if user:
            headers["Authorization"] = "Basic " + base64.b64encode(":".join(user).encode()).decode()
        try:
            found = self._pool.request(
                method,
                self._config.server + path,
                json=body,
                headers=headers,
                redirect=False,
                retries=False,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=timeout_seconds),
                preload_content=False,
            )
            try:
                data = found.read(MAX_ANSWER_BYTES)
            finally:
                found.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unreachable(explain(error, self._config)) from error
        names = {k.lower(): v for k, v in found.headers.items()}
        return Answer(found.status, names, _json_object(data), _json_list(data))

    def get(self, path: str, *, token: str, max_bytes: int, timeout_seconds: float = READ_SECONDS) -> "File":
        """A small file as the server has it, whatever the status; one byte more than allowed shows that it is too
        large. Raises Unreachable."""
        with self.download(path, token=token, timeout_seconds=timeout_seconds) as found:
            data = b""
            while len(data) <= max_bytes and (more := found.read(max_bytes + 1 - len(data))):
                data += more
            return File(found.status, data, Answer(found.status, found.headers, _json_object(data)).error_code)

    @contextlib.contextmanager
    def download(
        self, path: str, *, token: str, headers: dict[str, str] | None = None, timeout_seconds: float = READ_SECONDS
    ) -> Iterator["Download"]:
        """A file that is read piece by piece, each within the timeout; no redirect is followed. Raises Unreachable."""
        sent = {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"} | (headers or {})
        try:
            found = self._pool.request(
                "GET",
                self._config.server + path,
                headers=sent,
                redirect=False,
                retries=False,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=timeout_seconds),
                preload_content=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unreachable(explain(error, self._config)) from error
        try:
            yield Download(found, self._config)
        finally:
            # Not given back to the pool: most of it may be unread.
            found.close()

    def open_websocket(
        self, path: str, *, token: str, timeout_seconds: float = CONNECT_SECONDS
    ) -> "websocket.WebSocket":
        """An open WebSocket; raises Unreachable, or Refused when the server answered with something else."""
        parts = urlsplit(self._config.server)
        url = ("wss://" if parts.scheme == "https" else "ws://") + self._config.server.partition("://")[2] + path
        try:
            return websocket.create_connection(
                url,
                timeout=timeout_seconds,
                header=[f"Authorization: Bearer {token}"],
                suppress_origin=True,
                redirect_limit=0,
                enable_multithread=True,
                skip_utf8_validation=False,
                sockopt=_KEEPALIVE,
                sslopt={"context": self.context},
                **self._websocket_proxy(),
            )
        except websocket.WebSocketBadStatusException as error:
            raise Refused(
                Answer(error.status_code, dict(error.resp_headers or {}), _json_object(error.resp_body))
            ) from error
        except (websocket.WebSocketException, OSError, ValueError) as error:
            raise Unreachable(explain(error, self._config)) from error

    def _websocket_proxy(self) -> dict[str, Any]:
        # Without a host the library would take a proxy from the environment; agent.toml alone decides here.
        if not self._uses_proxy:
            return {
                "http_proxy_host": "none.invalid",
                "http_proxy_port": 1,
                "http_no_proxy": ["*"],
                "proxy_type": "http",
            }
        parts = urlsplit(self._config.proxy)
        return {
            "http_proxy_host": parts.hostname,
            "http_proxy_port": parts.port or 80,
            "http_proxy_auth": (unquote(parts.username), unquote(parts.password or "")) if parts.username else None,
            "http_no_proxy": ["none.invalid"],
            "proxy_type": "http",
        }

    def _make_pool(self) -> urllib3.PoolManager:
        if not self._uses_proxy:
            return urllib3.PoolManager(num_pools=2, ssl_context=self.context)
        parts = urlsplit(self._config.proxy)
        headers = None
        if parts.username:
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers = urllib3.make_headers(proxy_basic_auth=user)
        return urllib3.ProxyManager(
            f"http://{parts.netloc.rpartition('@')[2]}", num_pools=2, ssl_context=self.context, proxy_headers=headers
        )


class Refused(Exception):
    """The server, or something before it, answered the WebSocket handshake with an HTTP status."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"HTTP {answer.status} {answer.error_code}".strip())
        self.answer = answer


def tls_context(ca_file: str) -> ssl.SSLContext:
    """The system's trust and the private CA; raises ConfigurationError for a file that holds no certificate."""
    context = ssl.create_default_context()
    if ca_file:
        try:
            context.load_verify_locations(cafile=ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(f"ca_file {ca_file} cannot be used: {error}") from error
    return context


def bypasses_proxy(host: str, no_proxy: str) -> bool:
    """Whether a host is excepted from the proxy: names, .domains, addresses, CIDRs, or *."""
    host = host.lower().strip("[]")
    for entry in (part.strip().lower() for part in no_proxy.split(",")):
        if not entry:
            continue
        if entry == "*" or host == entry.lstrip(".") or host.endswith("." + entry.lstrip(".")):
            return True
        try:
            if ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False):
                return True
        except ValueError:
            continue
    return False


def proxy_variables(config: Config) -> dict[str, str]:
    """The proxy settings as environment variables for restic."""
    if not config.proxy:
        return {}
    return {"HTTP_PROXY": config.proxy, "HTTPS_PROXY": config.proxy, "NO_PROXY": config.no_proxy}


def explain(error: BaseException, config: Config) -> str:
    """What a failed connection means and what to do, in one or two sentences."""
    host = urlsplit(config.server).hostname or config.server
    chain: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in chain:
        chain.append(at)
        inner = getattr(at, "reason", None)
        at = inner if isinstance(inner, BaseException) else at.__cause__ or at.__context__
    text = " ".join(str(one) for one in chain)
    if any(isinstance(one, ssl.SSLCertVerificationError) for one in chain) or "CERTIFICATE_VERIFY_FAILED" in text:
        reason = next(
            (getattr(one, "verify_message", "") for one in chain if getattr(one, "verify_message", "")), "unknown"
        )
        return (
            f"The TLS certificate of {host} is not trusted ({reason}). If the server has a private CA, give its"
            " certificate with --ca-file (ca_file in agent.toml)."
        )
    if any(isinstance(one, ssl.SSLError) for one in chain):
        return f"{host} does not speak TLS as expected ({chain[-1]}). Is it http:// instead? Is the port right?"
    if any(isinstance(one, urllib3.exceptions.ProxyError | websocket.WebSocketProxyException) for one in chain):
        return f"The proxy {_without_user(config.proxy)} did not let the connection to {host} through ({chain[-1]})."
    if any(
        isinstance(one, socket.gaierror | websocket.WebSocketAddressException | urllib3.exceptions.NameResolutionError)
        for one in chain
    ):
        names = f"{_without_user(config.proxy)} or {host}" if config.proxy else host
        return f"The name {names} cannot be resolved. Check the URL and DNS."
    if "Redirect limit exhausted" in text:
        return f"{config.server} redirects elsewhere, which is not followed. Set server to where it redirects to."
    if any(isinstance(one, ConnectionRefusedError) for one in chain):
        return f"{config.server} refuses connections. Is the server running, and the port right?"
    if any(
        isinstance(one, TimeoutError | websocket.WebSocketTimeoutException | urllib3.exceptions.TimeoutError)
        for one in chain
    ):
        return f"{config.server} does not answer in time. Check firewalls and the address."
    return f"{config.server} cannot be reached: {chain[-1] or type(chain[-1]).__name__}"


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else url


def _json_object(data: Any) -> dict[str, Any]:
    found = _json(data)
    return found if isinstance(found, dict) else {}


def _json_list(data: Any) -> list[Any]:
    found = _json(data)
    return found if isinstance(found, list) else []


def _json(data: Any) -> Any:
    try:
        return json.loads(data or b"")
    except (ValueError, RecursionError, TypeError):
        return None
