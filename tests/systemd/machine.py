"""A host of its own: a Debian tree, written to through an overlay, booted with its own systemd by nspawn."""

import contextlib
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.install.server import ROOT, until

NEEDS = ("debootstrap", "systemd-nspawn", "nsenter", "mount")


def missing() -> str:
    """What keeps this machine from booting others; empty when nothing does."""
    if os.getuid() != 0:
        return "needs root, to boot machines of its own"
    absent = [name for name in NEEDS if shutil.which(name) is None]
    return f"needs {' and '.join(absent)} (scripts/system-packages machines)" if absent else ""


def tree(*packages: str) -> Path:
    """The Debian tree that machines begin as, with these packages too; built at first use, and kept."""
    command = [str(ROOT / "scripts" / "systemd-machine-tree"), *packages]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@dataclass
class Machine:
    """One machine; `boot` it, `run` things on it, `power_cut` or `reboot` it, and `close` it at the end."""

    directory: Path
    tree: Path
    name: str = field(default_factory=lambda: f"rm-{uuid.uuid4().hex[:8]}")
    process: subprocess.Popen[bytes] | None = None
    leader: int = 0

    @property
    def root(self) -> Path:
        return self.directory / "root"

    def make(self) -> "Machine":
        for name in ("root", "upper", "work"):
            (self.directory / name).mkdir(parents=True)
            # The upper layer's mode is that of the machine's `/`, which everyone on it must be able to pass.
            (self.directory / name).chmod(0o755)
        options = f"lowerdir={self.tree},upperdir={self.directory / 'upper'},workdir={self.directory / 'work'}"
        subprocess.run(["mount", "-t", "overlay", self.name, "-o", options, str(self.root)], check=True)
        (self.root / "etc" / "hostname").write_text(f"{self.name}\n")
        return self

    def boot(self, *, seconds: float = 60) -> "Machine":
        # The machine shares this one's loopback network, and so reaches its servers.
        command = [
            "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "-D", str(self.root), "-M", self.name,
            "--link-journal=no", "--resolv-conf=copy-host", "--timezone=off", "-b", "--console=pipe",
        ]  # fmt: skip
        # Each machine in a control group of its own: in a common one, a systemd ends the services of another.
        groups = [root / self.name for root in _control_groups()]
        for group in groups:
            group.mkdir(exist_ok=True)
        move = "".join(f"echo $$ > {group}/cgroup.procs && " for group in groups)
        with (self.directory / "console.log").open("ab") as log:
            self.process = subprocess.Popen(
                ["/bin/sh", "-c", f'{move}exec "$@"', "sh", *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.leader = until(self._first_process, "the machine's first process", seconds=seconds)
        until(self._is_up, f"the machine to boot: {self.directory / 'console.log'}", seconds=seconds)
        return self

    def run(self, command: str, *, given: str | None = None, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """What a shell command on the machine gives."""
        return subprocess.run(
            ["nsenter", "-t", str(self.leader), "-m", "-p", "-u", "-i", "--", "/bin/sh", "-c", command],
            input=given, capture_output=True, text=True, errors="replace", timeout=timeout, check=False,
            env=ENVIRONMENT,
        )  # fmt: skip

    def out(self, command: str, *, timeout: float = 60) -> str:
        """What a command that must succeed prints."""
        done = self.run(command, timeout=timeout)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def write(self, path: str, text: str, *, mode: int = 0o644) -> None:
        self.out(f"mkdir -p {Path(path).parent}")
        done = self.run(f"cat > {path} && chmod {mode:o} {path}", given=text)
        assert done.returncode == 0, done.stderr

    def write_offline(self, path: str, text: str) -> None:
        """Write a file of a machine that is not running."""
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop all its processes for a while, as a lid that is closed does."""
        group = _freezer() / self.name
        group.mkdir(exist_ok=True)
        try:
            for pid in self._processes():
                with contextlib.suppress(OSError):
                    (group / "cgroup.procs").write_text(str(pid))
            _freeze(group, is_frozen=True)
            yield
        finally:
            _freeze(group, is_frozen=False)
            for pid in self._processes():
                with contextlib.suppress(OSError):
                    (_freezer() / "cgroup.procs").write_text(str(pid))
            _remove_when_empty(group)

    def _processes(self) -> list[int]:
        """All that runs on the machine, by the numbers that this one gives them."""
        own = os.readlink(f"/proc/{self.leader}/ns/pid")
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and os.readlink(entry / "ns" / "pid") == own:
                    found.append(int(entry.name))
        return found

    def unit(self, name: str, unit: str = "rm-agent.service") -> str:
        """A property of a unit as systemd has it now."""
        return self.out(f"systemctl show -P {name} {unit}")

    def reboot(self) -> None:
        """Shut down in good order and start again."""
        assert self.process is not None
        # The signal that a container's systemd understands as `poweroff`.
        os.kill(self.leader, signal.SIGRTMIN + 4)
        self.process.wait(60)
        self.boot()

    def power_cut(self) -> None:
        """End everything on the machine at once."""
        if self.process is not None and self.process.poll() is None:
            os.kill(self.leader, signal.SIGKILL)
            self.process.wait(30)

    def close(self) -> None:
        self.power_cut()
        subprocess.run(["umount", "-l", str(self.root)], check=False, capture_output=True)
        for root in _control_groups():
            for group in sorted((root / self.name).rglob("*"), reverse=True):
                if group.is_dir():
                    _remove_when_empty(group)
            _remove_when_empty(root / self.name)

    def _first_process(self) -> int:
        assert self.process is not None
        assert self.process.poll() is None, (self.directory / "console.log").read_text(errors="replace")
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and _is_leader_of(entry, self.process.pid):
                return int(entry.name)
        return 0

    def _is_up(self) -> bool:
        return self.run("systemctl is-system-running").stdout.strip() in ("running", "degraded")


ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}


def _is_leader_of(entry: Path, nspawn: int) -> bool:
    """Whether a process is the first of the machine that this nspawn has started."""
    try:
        facts = dict(line.split(":\t", 1) for line in (entry / "status").read_text().splitlines() if ":\t" in line)
    except OSError:
        return False
    return facts.get("PPid") == str(nspawn) and facts.get("NSpid", "").split()[-1:] == ["1"]


def _control_groups() -> list[Path]:
    """The trees of control groups that a systemd keeps its services in: one, or two where both versions are used."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [
        Path(where)
        for _, where, kind, options, *_ in mounts
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options)
    ]


def _freezer() -> Path:
    """The tree of control groups that can stop processes: of its own in version 1, the common one in version 2."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    for _, where, kind, options, *_ in mounts:
        if kind == "cgroup" and "freezer" in options.split(","):
            return Path(where)
    return next(Path(where) for _, where, kind, *_ in mounts if kind == "cgroup2")


def _freeze(group: Path, *, is_frozen: bool) -> None:
    if (group / "freezer.state").exists():
        (group / "freezer.state").write_text("FROZEN" if is_frozen else "THAWED")
    else:
        (group / "cgroup.freeze").write_text("1" if is_frozen else "0")


def _remove_when_empty(group: Path) -> None:
    """A dying process may hold its group for a moment; what stays is empty, and harms nobody."""
    with contextlib.suppress(OSError):
        group.rmdir()
