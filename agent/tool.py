"""Finds restic on the host and asks it for its version."""

import os
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

from agent import restic, restic_output
from agent.config import Config, Paths
from agent.platform import linux

PROBE_SECONDS = 10.0


@dataclass(frozen=True)
class Tool:
    """The restic of this host; without a path there is none, and `problem` says why."""

    path: str | None
    version: tuple[int, ...] | None = None
    problem: str = ""

    @property
    def version_text(self) -> str | None:
        return ".".join(map(str, self.version)) if self.version else None


class ToolFinder:
    """Looks for restic anew each time, but asks for a version only when the file has changed."""

    def __init__(self, paths: Paths, config: Config) -> None:
        self._paths = paths
        self._config = config
        self._lock = threading.Lock()
        self._probed: tuple[tuple[str, int, int], Tool] | None = None

    def candidates(self) -> list[Path]:
        """Where restic may be; a path in agent.toml is the only one then."""
        if self._config.restic:
            return [Path(self._config.restic)]
        own = [self._paths.bin] if self._paths.bin else []
        named = [Path(name) for name in os.environ.get("PATH", "").split(":") if name.startswith("/")]
        return [directory / "restic" for directory in [*own, *named, Path("/usr/local/bin"), Path("/usr/bin")]]

    def find(self) -> Tool:
        """The restic to use now."""
        with self._lock:
            for path in self.candidates():
                if path.is_file() and os.access(path, os.X_OK):
                    return self._probe(path)
        where = f" ({self._config.restic} in agent.toml)" if self._config.restic else ""
        return Tool(None, problem=f"restic was not found{where}; install it, for example: apt install restic")

    def _probe(self, path: Path) -> Tool:
        found = path.stat()
        key = (str(path), found.st_mtime_ns, found.st_size)
        if self._probed and self._probed[0] == key:
            return self._probed[1]
        tool = _ask_version(path)
        if tool.version:
            self._probed = (key, tool)
        return tool


def _ask_version(path: Path) -> Tool:
    environment = {"PATH": restic.PATH, "HOME": linux.home_directory(), "LANG": "C.UTF-8"}
    try:
        done = subprocess.run(
            [str(path), "version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROBE_SECONDS,
            env=environment,
            cwd="/",
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Tool(None, problem=f"{path} cannot be run: {error}")
    version = restic.parse_version(restic_output.readable(done.stdout))
    if done.returncode != 0 or version is None:
        return Tool(None, problem=f"{path} did not tell its version (exit code {done.returncode}); is it restic?")
    if version < restic.OLDEST:
        oldest = ".".join(map(str, restic.OLDEST))
        return Tool(str(path), version, f"{path} is older than {oldest}, the oldest that is supported; update it")
    return Tool(str(path), version)
