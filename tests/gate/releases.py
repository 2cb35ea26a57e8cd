"""The releases of the gate: this tree's own, its predecessor, and what may follow."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from demo.releases import ROOT, WHEELS, Releases
from release_tool import building
from tests import clock_ahead
from tests.install.server import Server

# Well until somebody leaves a file beside its state; all else is this release.
UNWELL_WHEN_ASKED = """
import pathlib, sys
if sys.argv[-1] == 'run':
    from agent.running import RunningAgent
    _red = RunningAgent._red
    RunningAgent._red = lambda self: _red(self) + ['restic'] * (self.paths.state.parent / 'unwell').exists()
"""
# Each release reads its clocks so, that a due time need not be waited for.
CLOCK = clock_ahead.code("sys.argv[sys.argv.index('--root') + 1] + '/clock'")
HARMLESS = "\n_next = 'a release after this one'\n"


class Shelf:
    """Makes, imports and promotes releases, each with a higher sequence than the one before."""

    def __init__(self, releases: Releases, server: Server) -> None:
        self._releases = releases
        self._server = server
        self._seq = 0
        self.predecessor = _newest_tag()
        self.predecessor_has_schedules = False

    def add_previous(self) -> str:
        """The release before this one; gives its artifact's sha256."""
        made = self._add("previous", tag=self.predecessor)
        with zipfile.ZipFile(made) as archive:
            self.predecessor_has_schedules = "agent/schedules/__init__.py" in archive.namelist()
        return building.sha256_of(made)

    def add(self, name: str, code: str = "") -> str:
        """This release, changed by `code`; gives its artifact's sha256."""
        return building.sha256_of(self._add(name, code=code))

    def _add(self, name: str, *, code: str = "", tag: str = "") -> Path:
        self._seq += 1
        version = f"{self._seq}.0.0+{name}"
        built = _build_tag(tag, self._server.directory / tag, version=version, seq=self._seq) if tag else None
        made = self._releases.make(version, self._seq, code=CLOCK + code, built=built)
        self._releases.import_into(self._server.directory / "data", made, "--promote")
        return made / building.NAME


def _newest_tag() -> str:
    """The newest released version that this tree is not itself; empty when there is none."""
    done = subprocess.run(
        ["git", "tag", "--list", "v*", "--no-contains", "HEAD", "--sort=-v:refname"],
        cwd=ROOT, capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    return done.stdout.split()[0] if done.stdout.split() else ""


def _build_tag(tag: str, directory: Path, *, version: str, seq: int) -> Path:
    """The agent of that tag, built by the tag's own tools; only what it calls itself is new."""
    directory.mkdir()
    packed, tree, artifact = directory / "tree.tar", directory / "tree", directory / "rm-agent"
    subprocess.run(["git", "archive", f"--output={packed}", tag], cwd=ROOT, check=True, timeout=60)
    with tarfile.open(packed) as archive:
        archive.extractall(tree, filter="data")
    subprocess.run(
        [
            sys.executable, "-m", "agent.packaging.build", "--output", str(artifact), "--version", version,
            "--seq", str(seq), "--wheels", str(WHEELS),
        ],
        cwd=tree, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    return artifact
