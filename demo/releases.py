"""Releases of the agent for the demo and the tests: built, signed with keys of their own, and some of them bad."""

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path

from agent.packaging import build as zipapp
from demo.waiting import check
from release_tool import building, files, publishing
from release_tool.building import Plan
from release_tool.keys import ALLOW_IMAGE, KeyDirectory

ROOT = Path(__file__).parent.parent
WHEELS = ROOT / "build" / "agent-wheels"
Environment = Callable[..., Mapping[str, str]]


class Releases:
    """A release maker with throw-away keys below one directory."""

    def __init__(self, directory: Path, *, environment: Environment) -> None:
        self._directory = directory
        self._environment = environment
        directory.mkdir(parents=True, exist_ok=True)
        self._keys = KeyDirectory.create({"RM_KEYS_DIR": str(directory / "keys"), ALLOW_IMAGE: "1"})

    def make(
        self, version: str, seq: int, *, code: str = "", arch: str = "any", built: Path | None = None
    ) -> Path:  # fmt: skip
        """A signed release in a directory of its own; `code` is done by the agent before all else.

        With an `arch` the manifest says that it is for such hosts alone; `built` is an agent of another tree.
        """
        directory = self._directory / version
        plan = Plan(
            version=version,
            seq=seq,
            released_at=datetime.now(timezone.utc).replace(microsecond=0),
            key_id=self._keys.release_key().public.name,
        )
        building.build(directory, plan, wheels_in=WHEELS)
        if built is not None:
            shutil.copy(built, directory / building.NAME)
        if code or built is not None or arch != "any":
            self._change(directory, plan, code, arch)
        publishing.sign(directory, self._keys, now=datetime.now(timezone.utc), passed=None)
        return directory

    def import_into(self, data_dir: Path, release: Path, *options: str) -> str:
        """What the server's own command line says to this release; the server may run meanwhile."""
        done = subprocess.run(
            [sys.executable, "-m", "flask", "--app", "app", "rm", "release", "import", str(release), *options],
            env=self._environment(RM_DATA_DIR=str(data_dir)),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        check(done.returncode == 0, f"the release was not imported: {done.stdout}{done.stderr}")
        return done.stdout

    def _change(self, directory: Path, plan: Plan, code: str, arch: str) -> None:
        artifact = directory / building.NAME
        if code:
            with_code(artifact, code)
        data = building.manifest_bytes(
            plan,
            artifact={
                "name": building.NAME,
                "size": artifact.stat().st_size,
                "sha256": building.sha256_of(artifact),
                **({"os": "linux", "arch": arch} if arch != "any" else {}),
            },
        )
        files.replace(directory / building.MANIFEST, data, mode=0o644)


def with_code(artifact: Path, code: str) -> None:
    """Have the agent in this file do something before all else, and be another file by that."""
    with zipfile.ZipFile(artifact) as archive:
        members = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    members["__main__.py"] = code.encode() + b"\n" + members["__main__.py"]
    temporary = artifact.with_name(f".{artifact.name}.changed")
    with open(temporary, "wb") as file:
        file.write(zipapp.SHEBANG)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name in sorted(members):
                archive.writestr(zipfile.ZipInfo(name, zipapp.MOMENT), members[name])
    temporary.chmod(0o755)
    temporary.replace(artifact)
