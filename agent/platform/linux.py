"""What the agent asks Linux: identity, boot, names, processes, free space."""

import hashlib
import hmac
import os
import platform
import pwd
import socket
from pathlib import Path

OS = "linux"


def arch() -> str:
    """The machine's architecture in the product's words."""
    machine = platform.machine().lower()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def hostname() -> str:
    """The host's name, at most 253 characters."""
    return socket.gethostname()[:253]


def machine_id() -> str:
    """HMAC-SHA256 of the machine id, so that the id itself never leaves the host; empty where there is none."""
    for name in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        found = _first_line(name)
        if found:
            return hmac.new(found.encode(), b"restic-manager", hashlib.sha256).hexdigest()
    return ""


def boot_id() -> str:
    """Changes with each start of the machine."""
    return _first_line("/proc/sys/kernel/random/boot_id")


def os_name() -> str:
    """The system's name for people: Debian GNU/Linux 12 (bookworm)."""
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")[:120]
    except OSError:
        return "Linux"


def timezone_name() -> str:
    """The IANA name of the host's zone, UTC when it cannot be told."""
    named = os.environ.get("TZ", "").lstrip(":") or _first_line("/etc/timezone")
    if named:
        return named[:64]
    target = os.path.realpath("/etc/localtime")
    return target.partition("/zoneinfo/")[2][:64] or "UTC"


def init_system() -> str:
    """Who restarts this agent: systemd, supervisor (the guard) or none."""
    if os.environ.get("RM_GUARD_VERSION"):
        return "supervisor"
    return "systemd" if os.environ.get("INVOCATION_ID") and Path("/run/systemd/system").is_dir() else "none"


def home_directory() -> str:
    """The home of the user the agent runs as."""
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return "/"


def user_name() -> str:
    """The user this process runs as."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def start_time(pid: int) -> str | None:
    """When a process started, in the kernel's ticks; None when it is gone or only waits to be reaped."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return None
    fields = text.rpartition(") ")[2].split()
    return None if len(fields) < 20 or fields[0] in "ZX" else fields[19]


def group_members(group: int) -> list[int]:
    """The processes of a process group."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                text = Path(f"/proc/{entry}/stat").read_text("utf-8", "replace")
            except OSError:
                continue
            if text.rpartition(") ")[2].split()[2] == str(group):
                found.append(int(entry))
    return found


def free_bytes(path: Path) -> int:
    """What may still be written to the file system of a path."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", "replace").strip().partition("\n")[0].strip()
    except OSError:
        return ""
