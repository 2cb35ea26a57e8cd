"""Putting another program in the place of the one that runs: armed first, then one rename, then nothing more."""

import os
from dataclasses import dataclass
from pathlib import Path

from agent.platform.replace import Disk, sha256
from agent.update.records import GuardFiles, Trial


class SwapError(Exception):
    """The swap was not made; the live program is the one from before. `code` is one word for programs."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class Places:
    """The program and what lies beside it."""

    program: Path

    @property
    def part(self) -> Path:
        return self._beside(".part")

    @property
    def new(self) -> Path:
        return self._beside(".new")

    @property
    def old(self) -> Path:
        return self._beside(".old")

    def clear(self, disk: Disk, *, with_part: bool = True) -> None:
        """Remove what an attempt leaves behind."""
        for path in (self.new, self._beside(".old.new"), *((self.part,) if with_part else ())):
            disk.unlink(path)

    def _beside(self, suffix: str) -> Path:
        return self.program.with_name(self.program.name + suffix)

    @property
    def old_new(self) -> Path:
        return self._beside(".old.new")


def stage(disk: Disk, source: Path, places: Places) -> None:
    """Give a verified file its place as the candidate, durable and with the live program's mode. Raises OSError."""
    disk.mode(source, os.stat(places.program).st_mode & 0o777 | 0o100)
    disk.sync(source)
    disk.rename(source, places.new)
    disk.sync_names(places.program.parent)


def stage_old(disk: Disk, places: Places) -> None:
    """The candidate is the program from before: `.old` itself stays, for a crash before the swap."""
    disk.unlink(places.new)
    _second(disk, places.old, places.new)
    disk.sync_names(places.program.parent)


def carry_out(disk: Disk, places: Places, files: GuardFiles, trial: Trial) -> None:
    """Arm the trial and swap; after the rename the caller does nothing but end. Raises SwapError or OSError."""
    if sha256(places.program) != trial.from_sha256:
        raise SwapError("live_changed", f"{places.program} is no longer the file that this agent was started from.")
    if sha256(places.new) != trial.to_sha256:
        raise SwapError("candidate_changed", f"{places.new} was changed after it had been verified.")
    files.arm(trial)
    disk.unlink(places.old_new)
    _second(disk, places.program, places.old_new)
    disk.rename(places.old_new, places.old)
    # A rename between two names of one file does nothing and leaves both.
    disk.unlink(places.old_new)
    disk.sync_names(places.program.parent)
    disk.sync(places.new)
    disk.rename(places.new, places.program)
    disk.sync_names(places.program.parent)


def _second(disk: Disk, source: Path, target: Path) -> None:
    """The same file under a second name, or a durable copy of it where the file system has no links."""
    try:
        disk.link(source, target)
    except OSError:
        disk.copy(source, target)
        disk.sync(target)
