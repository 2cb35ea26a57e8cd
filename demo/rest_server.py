"""A real rest-server on loopback, where there is one: repositories over HTTP, each with its own user."""

import base64
import hashlib
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from demo.processes import Process, free_port
from demo.waiting import until

ROOT = Path(__file__).parent.parent


class RestServer:
    """Serves repositories below a directory to one user, who may append and read but not delete."""

    def __init__(self, program: str, *, directory: Path, environment: Mapping[str, str]) -> None:
        self.username = "nas1"
        self.password = secrets.token_urlsafe(18)
        self._port = free_port()
        users = directory / "rest-server.htpasswd"
        # One of the two forms that rest-server reads; the password lives as long as the demo.
        digest = base64.b64encode(hashlib.sha1(self.password.encode(), usedforsecurity=False).digest()).decode()
        users.write_text(f"{self.username}:{{SHA}}{digest}\n")
        users.chmod(0o600)
        self._process = Process(
            [
                program,
                *("--listen", f"127.0.0.1:{self._port}", "--path", directory / "rest-server"),
                *("--htpasswd-file", users, "--private-repos", "--append-only"),
            ],
            env=environment,
            cwd=directory,
            log=directory / "rest-server.log",
        )
        until(self._answers, seconds=15, what="rest-server answers")

    @property
    def location(self) -> str:
        """The repository of its user, as restic takes it."""
        return f"rest:http://127.0.0.1:{self._port}/{self.username}/"

    def stop(self) -> None:
        self._process.stop(seconds=5)

    def _answers(self) -> bool:
        return f":{self._port}" in (self._process.log.read_text(errors="replace"))


def find() -> str | None:
    """The rest-server of this machine, or the one that the tests fetched; None where there is none."""
    for name in ("rest-server", "restic-rest-server"):
        if program := shutil.which(name):
            return program
    where = subprocess.run(
        [ROOT / "scripts" / "newer-restic", "--where"], capture_output=True, text=True, check=False, timeout=60
    )
    program = Path(where.stdout.strip()) / "restic-rest-server"
    return str(program) if where.returncode == 0 and program.is_file() else None
