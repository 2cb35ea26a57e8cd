"""Faults put into single system calls of a real program by strace, and the calls there are to put them into."""

import re
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

CALLS = (
    "openat", "read", "write", "fsync", "rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat",
    "chmod", "fchmod", "fchmodat",
)  # fmt: skip
FAULTS = ("signal=KILL", "error=ENOSPC", "error=EIO", "error=EROFS", "error=EPERM")
# What each kind of call can really be refused with; SIGKILL comes at any.
_CAN_FAIL = {
    "ENOSPC": ("openat", "write", "fsync", "rename", "renameat", "renameat2", "link", "linkat"),
    "EIO": CALLS,
    "EROFS": ("openat", "rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat", "chmod", "fchmod",
              "fchmodat"),
    "EPERM": ("openat", "rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat", "chmod", "fchmod",
              "fchmodat"),
}  # fmt: skip


GUARD = "the guard"


@dataclass(frozen=True)
class Point:
    """One call of one program on one path, and what happens there."""

    part: str
    path: str
    call: str
    number: int
    fault: str

    def strace(self, root: Path) -> list[str]:
        """The words in front of the command that is to meet the fault."""
        inject = f"inject={self.call}:{self.fault}:when={self.number}"
        named = [self.path] if self.part != GUARD else [self.path, self.path.removeprefix("state/update/")]
        return [*tracing(root, named, [self.call]), "-e", inject]

    def __str__(self) -> str:
        return f"{self.part}: {self.fault} at {self.call} {self.number} on {self.path}"


def tracing(root: Path, paths: list[str], calls: list[str]) -> list[str]:
    """The tracer follows from the side, so that the traced program is the child of whoever starts this."""
    # The guard works in its directory and names its files from there.
    named = [word for path in paths for word in ("-P", str(root / path) if "/" in path or path == "bin" else path)]
    return ["strace", "-D", "-f", "-q", "-y", "-o", str(root / "strace"), *named, "-e", f"trace={','.join(calls)}"]


def points(part: str, trace: str, paths: list[str], root: Path, *, at_most: int) -> list[Point]:
    """Every fault at every call that a traced run made on one of the paths; of many equal calls the first and last."""
    seen: Counter[tuple[str, str, str]] = Counter()
    for line in trace.splitlines():
        found = re.match(r"(\d+) +(\w+)\((.*)", re.sub(r"AT_FDCWD<[^>]*>", "AT_FDCWD", line))
        if found and found[2] in CALLS:
            for path in paths:
                if re.search(rf'[<"]{re.escape(str(root / path))}[>"]', found[3]):
                    seen[found[1], found[2], path] += 1
    most: dict[tuple[str, str], int] = {}
    for (_, call, path), count in seen.items():
        most[call, path] = max(most.get((call, path), 0), count)
    made = []
    for (call, path), count in sorted(most.items()):
        half = at_most // 2
        numbers = (
            range(1, count + 1) if count <= at_most else [*range(1, half + 1), *range(count - half + 1, count + 1)]
        )
        made += [
            Point(part, path, call, number, fault)
            for number in numbers
            for fault in FAULTS
            if fault == "signal=KILL" or call in _CAN_FAIL[fault.partition("=")[2]]
        ]
    return made


def was_met(trace: str) -> bool:
    """Whether the fault happened."""
    return "(INJECTED)" in trace or "killed by SIGKILL" in trace


def is_usable() -> bool:
    """Whether strace may trace here; containers often forbid it."""
    try:
        done = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False, timeout=40)
    except OSError:
        return False
    return done.returncode == 0
