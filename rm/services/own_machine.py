"""Which host is the machine that the server itself runs on."""

import hashlib
import hmac
import ipaddress
from collections.abc import Iterable
from pathlib import Path

from rm.store.models import Host


def own_hosts(hosts: Iterable[Host]) -> set[str]:
    """The ids of the hosts that seem to be this machine: same machine id, or connected from a loopback address."""
    own = _machine_id()
    return {host.id for host in hosts if (own and host.machine_id == own) or _is_loopback(host.last_address)}


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _machine_id() -> str:
    """What an agent on the server's own machine says as its machine id; empty where there is none to read."""
    for name in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            found = Path(name).read_text().strip()
        except (OSError, UnicodeDecodeError):
            continue
        if found:
            return hmac.new(found.encode(), b"restic-manager", hashlib.sha256).hexdigest()
    return ""
