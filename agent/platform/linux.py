"""What the agent asks Linux: identity, boot, names, processes, free space."""

import hashlib
import hmac
import os
import platform
import pwd
import socket
import time
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
    # What the clock goes by is /etc/localtime; /etc/timezone is not always kept beside it.
    target = os.path.realpath("/etc/localtime").partition("/zoneinfo/")[2]
    named = os.environ.get("TZ", "").lstrip(":") or target or _first_line("/etc/timezone")
    return named[:64] or "UTC"


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


def start_moment(pid: int) -> float | None:
    """When a process started, in seconds since 1970 by this host's clock as it is now; None when it is gone."""
    ticks = start_time(pid)
    if ticks is None:
        return None
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(ticks) / os.sysconf("SC_CLK_TCK")
    return time.time() - age


def boot_seconds() -> float:
    """How long this machine is up, sleep included; never set back."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def session_members(session: int) -> list[int]:
    """The processes of a session, whatever their process group."""
    return _with_field(3, session)


def group_members(group: int) -> list[int]:
    """The processes of a process group."""
    return _with_field(2, group)


def _with_field(field: int, value: int) -> list[int]:
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                text = Path(f"/proc/{entry}/stat").read_text("utf-8", "replace")
            except OSError:
                continue
            if text.rpartition(") ")[2].split()[field] == str(value):
                found.append(int(entry))
    return found


def written_bytes(pid: int) -> int | None:
    """How much a process has written to files and pipes so far; None when that cannot be told."""
    try:
        text = Path(f"/proc/{pid}/io").read_text("ascii")
        return int(text.partition("wchar:")[2].split()[0])
    except (OSError, ValueError, IndexError):
        return None


def free_bytes(path: Path) -> int:
    """What may still be written to the file system of a path."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", "replace").strip().partition("\n")[0].strip()
    except OSError:
        return ""
