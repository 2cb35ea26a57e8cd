"""Who is really calling, when a trusted reverse proxy stands in between."""

import ipaddress
from collections.abc import Callable, Iterable
from typing import Any

from rm.config import Network

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class TrustedProxies:
    """WSGI middleware: believes X-Forwarded-For and X-Forwarded-Proto of the given networks, and of nobody else."""

    def __init__(self, app: WsgiApp, networks: tuple[Network, ...]) -> None:
        self._app = app
        self._networks = networks

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        peer = environ.get("REMOTE_ADDR", "")
        if self._networks and is_within(peer, self._networks):
            environ["REMOTE_ADDR"] = client_address(peer, environ.get("HTTP_X_FORWARDED_FOR", ""), self._networks)
            scheme = environ.get("HTTP_X_FORWARDED_PROTO", "").rpartition(",")[2].strip().lower()
            if scheme in ("http", "https"):
                environ["wsgi.url_scheme"] = scheme
        return self._app(environ, start_response)


def client_address(peer: str, forwarded_for: str, networks: tuple[Network, ...]) -> str:
    """The nearest address that is not one of our proxies, read from the right: all left of it may be invented."""
    for hop in reversed([part.strip() for part in forwarded_for.split(",") if part.strip()]):
        if not is_address(hop):
            break
        peer = hop
        if not is_within(hop, networks):
            break
    return peer


def is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_within(text: str, networks: tuple[Network, ...]) -> bool:
    """Whether an address lies in one of the networks."""
    if not is_address(text):
        return False
    address = ipaddress.ip_address(text)
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in networks)
