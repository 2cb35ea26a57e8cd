"""The hooks of this host: which executables in hooks.d may run, and which one a backup's order means."""

import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.config import Config, Paths
from rm.shared.protocol import SourceGroupSpec

MOST = 100
PHASES = ("pre", "post")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_WORDS = {"pre": "before", "post": "after"}


@dataclass(frozen=True)
class Hook:
    """An entry of hooks.d; with a problem it is not run."""

    name: str
    path: Path
    problem: str = ""


@dataclass(frozen=True)
class Call:
    """What to run for one phase: an executable of this host, or shell text that the server wrote."""

    title: str
    path: Path | None = None
    shell: str = ""


class HookRefused(Exception):
    """The order names a hook that this host does not run; the text says why, for people."""


class Hooks:
    """What this host's owner allows, and what is there."""

    def __init__(self, paths: Paths, config: Config, *, shell_of: Callable[[str], tuple[str, str] | None]) -> None:
        self.directory = paths.hooks
        self.policy = config.hooks
        self._shell_of = shell_of
        self._owners = {0} if paths.bin is None else {0, os.getuid()}

    def look(self) -> list[Hook]:
        """All entries of hooks.d by name, at most 100, each with why it cannot be used."""
        unsafe = self.directory_problem()
        try:
            names = sorted(os.listdir(self.directory))[:MOST]
        except OSError:
            return []
        return [
            Hook(
                name,
                self.directory / name,
                (f"cannot be used: {self.directory} {unsafe}" if unsafe else self._problem(name)),
            )
            for name in names
        ]

    def names(self) -> list[str]:
        """Those that can be chosen on the server."""
        return [] if self.policy == "off" else [hook.name for hook in self.look() if not hook.problem]

    def directory_problem(self) -> str:
        """What is wrong with hooks.d itself; empty when it is well or not there."""
        try:
            found = self.directory.lstat()
        except OSError:
            return ""
        if not stat.S_ISDIR(found.st_mode):
            return "is no directory"
        return self._rights(self.directory, found)

    def call(self, group: SourceGroupSpec | None, phase: str) -> Call | None:
        """What the group's order means for the phase, None for nothing; raises HookRefused for what is not allowed."""
        if group is None:
            return None
        name = group.pre_hook if phase == "pre" else group.post_hook
        title = f"the hook {_WORDS[phase]} the backup"
        if not name:
            return self._shell(group, phase, title)
        if self.policy == "off":
            raise HookRefused(f'{title} was not run: this host runs no hooks (hooks = "off" in agent.toml).')
        hook = next((one for one in self.look() if one.name == name), None)
        if hook is None:
            raise HookRefused(f"{title} was not run: there is no {name[:100]!r} in {self.directory}.")
        if hook.problem:
            raise HookRefused(f"{title} was not run: {hook.name} {hook.problem}.")
        return Call(f"{title} ({name})", path=hook.path)

    def has_shell(self, group: SourceGroupSpec, phase: str) -> bool:
        """Whether the server gives shell text for the phase."""
        return bool(self._text(group, phase).strip())

    def _text(self, group: SourceGroupSpec, phase: str) -> str:
        stored = self._shell_of(group.name)
        return (stored[PHASES.index(phase)] if stored else "") or (
            group.pre_shell if phase == "pre" else group.post_shell
        )

    def _shell(self, group: SourceGroupSpec, phase: str, title: str) -> Call | None:
        text = self._text(group, phase)
        if not text.strip() and self.policy == "server" and self._shell_of(group.name) is None:
            # The group was removed or renamed while its run waited, or the file is damaged.
            raise HookRefused(
                f"{title} is not known: the group {group.name!r} is not in the schedules that this host keeps."
            )
        if not text.strip():
            return None
        if self.policy != "server":
            raise HookRefused(
                f"{title} was not run: the server gives shell text, and this host does not allow that. Its owner can:"
                ' hooks = "server" in agent.toml.'
            )
        return Call(f"{title} (shell text of the server)", shell=text)

    def _problem(self, name: str) -> str:
        path = self.directory / name
        if not _NAME.fullmatch(name):
            return "has a name with other characters than letters, digits, dot, dash and underscore"
        try:
            true = path.resolve(strict=True)
            found = true.stat()
        except OSError:
            return "cannot be looked at"
        # A folder inside could belong to somebody else, who could put another file there.
        if true.parent != self.directory.resolve():
            return "is a link that leads out of the directory, or into a folder in it"
        if not stat.S_ISREG(found.st_mode):
            return "is not a file"
        if not os.access(true, os.X_OK):
            return f"is not executable; to mend it: chmod +x {path}"
        return self._rights(path, found)

    def _rights(self, path: Path, found: os.stat_result) -> str:
        if found.st_uid not in self._owners:
            return f"does not belong to root; to mend it: chown root {path}"
        if found.st_mode & 0o022:
            return f"can be written by others; to mend it: chmod go-w {path}"
        return ""
