"""Builds the agent's zipapp: agent, shared code and pure-Python wheels in one file, the same bytes each time."""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

from agent import release_info

ROOT = Path(__file__).resolve().parents[2]
SHEBANG = b"#!/usr/bin/env python3\n"
MOMENT = (1980, 1, 1, 0, 0, 0)
OLDEST_PYTHON = "3.10"
# `python3` may be older than what install.sh found beside it; the command line then moves on to that one.
ENTRY = b"""import sys

if sys.version_info < (3, 10):
    import os
    import shutil

    for minor in range(40, 9, -1):
        newer = shutil.which("python3.%d" % minor)
        if newer:
            os.execv(newer, [newer] + sys.argv)
    sys.exit("rm-agent needs Python 3.10 or newer.")

from agent.__main__ import main

sys.exit(main())
"""


def main(arguments: list[str] | None = None) -> int:
    """Write the zipapp and print its sha256."""
    parser = argparse.ArgumentParser(prog="agent.packaging.build", description=__doc__)
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--version", default=release_info.VERSION)
    parser.add_argument("--seq", type=int, default=release_info.SEQ)
    parser.add_argument("--wheels", type=Path, default=ROOT / "build" / "agent-wheels", help="where wheels are kept")
    options = parser.parse_args(arguments)
    requirements = ROOT / "requirements" / "agent.txt"
    wheels = fetch_wheels(requirements, options.wheels)
    digest = build(options.output, wheels=wheels, version=options.version, seq=options.seq)
    sys.stdout.write(f"{digest}  {options.output}\n")
    return 0


def fetch_wheels(requirements: Path, directory: Path) -> list[Path]:
    """The wheels that the lock file names, pure Python only, each with a hash that it lists."""
    allowed = set(re.findall(r"sha256:([0-9a-f]{64})", requirements.read_text("utf-8")))
    place = directory / hashlib.sha256(requirements.read_bytes()).hexdigest()[:16]
    if not (place / "complete").exists():
        place.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [
                sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--require-hashes",
                "--no-deps", "--only-binary=:all:", "--platform=any", "--implementation=py", "--abi=none",
                f"--python-version={OLDEST_PYTHON}", f"--dest={place}", f"--requirement={requirements}",
            ],
            check=True,
        )  # fmt: skip
        (place / "complete").touch()
    wheels = sorted(place.glob("*.whl"))
    for wheel in wheels:
        if not wheel.name.endswith("-none-any.whl"):
            raise SystemExit(f"{wheel.name} is not pure Python; the agent can only carry py3-none-any wheels.")
        if hashlib.sha256(wheel.read_bytes()).hexdigest() not in allowed:
            raise SystemExit(f"{wheel.name} has a hash that {requirements} does not list; remove {place}.")
    if not wheels:
        raise SystemExit(f"No wheel was found for {requirements}.")
    return wheels


def build(output: Path, *, wheels: list[Path], version: str, seq: int) -> str:
    """Write the zipapp and give its sha256; the same inputs give the same bytes."""
    facts = json.dumps({"version": version, "seq": seq}).encode()
    members = {"__main__.py": ENTRY, "agent/_build.json": facts} | _sources()
    for wheel in wheels:
        members |= _wheel_members(wheel)
    output.parent.mkdir(parents=True, exist_ok=True)
    # a name of its own: two builds at once must not write into one file
    temporary = output.with_name(f".{output.name}.{os.getpid()}")
    with open(temporary, "wb") as file:
        file.write(SHEBANG)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name in sorted(members):
                entry = zipfile.ZipInfo(name, MOMENT)
                entry.create_system = 3
                entry.external_attr = 0o100644 << 16
                archive.writestr(entry, members[name])
        file.flush()
        os.fsync(file.fileno())
    temporary.chmod(0o755)
    os.replace(temporary, output)
    return hashlib.sha256(output.read_bytes()).hexdigest()


def _sources() -> dict[str, bytes]:
    found = [ROOT / "rm" / "__init__.py", *(ROOT / "rm" / "shared").rglob("*.py"), *(ROOT / "agent").rglob("*.py")]
    kept = [path for path in found if "packaging" not in path.relative_to(ROOT).parts]
    return {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in kept}


def _wheel_members(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {
            name: archive.read(name)
            for name in archive.namelist()
            if not name.endswith("/") and "/tests/" not in name and not name.endswith((".dist-info/RECORD", ".pyi"))
        }


if __name__ == "__main__":
    sys.exit(main())
