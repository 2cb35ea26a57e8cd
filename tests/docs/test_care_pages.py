"""What the pages about the server's care and about disasters tell to type works as it is written."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from agent.config import Paths
from rm.domain import pruning
from rm.domain.disk_space import Limits
from rm.domain.server_backups import Plan
from tests.docs.tracked import ROOT

CARE = ROOT / "docs" / "operations" / "server-care.md"
DISASTER = ROOT / "docs" / "operations" / "disaster-recovery.md"


def commands(page: Path) -> list[str]:
    """The lines of its shell blocks."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", page.read_text(), re.MULTILINE | re.DOTALL)
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip()]


def test_every_command_about_the_servers_database_works_in_the_order_of_the_page(app, settings, tmp_path) -> None:
    elsewhere = tmp_path / "elsewhere"
    environment = os.environ | {
        "RM_DATA_DIR": str(settings.data_dir), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }  # fmt: skip
    typed = commands(CARE)

    assert [line.split("rm ")[1].split()[0] for line in typed if "rm " in line] == [
        "backup", "backup", "restore", "check", "check", "export",
    ]  # fmt: skip
    for line in typed:
        done = subprocess.run(
            ["sh", "-c", line.replace("/srv/elsewhere", str(elsewhere))], cwd=ROOT, env=environment, text=True,
            capture_output=True, timeout=110, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}: {done.stderr}"


@pytest.mark.restic
def test_restic_alone_restores_everything_with_the_commands_of_the_printed_page(tmp_path) -> None:
    place = tmp_path / "srv"
    (place / "files").mkdir(parents=True)
    (place / "files" / "letter.txt").write_text("dear reader")
    typed = "\n".join(line.replace("/srv", str(place)) for line in commands(DISASTER) if "key add" not in line)
    exports, _, rest = typed.partition("restic snapshots")
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(tmp_path)}
    make = f"{exports}restic init\nrestic backup --host db1 --tag files {shlex.quote(str(place / 'files'))}\n"

    done = subprocess.run(
        ["sh", "-ec", f"{make}restic snapshots{rest}"], env=environment, text=True, capture_output=True, timeout=110,
        check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    for restored in ("restored", "restored-files"):
        found = place / restored / (place / "files" / "letter.txt").relative_to("/")
        assert found.read_text() == "dear reader"


def test_the_pages_name_the_defaults_and_the_places_that_hold() -> None:
    care, disaster = CARE.read_text(), DISASTER.read_text()

    table = dict(re.findall(r"^\| ([^|]+) \| (\d+) \|$", care, re.MULTILINE))
    assert sorted(int(days) for days in table.values()) == sorted(pruning.defaults().values())
    assert f"every {Plan().every_hours} hours and keeps the newest {Plan().keep} good copies" in care
    assert f"less than {Limits().low_mib} MiB" in care
    assert f"less than {Limits().critical_mib} MiB" in care
    assert f"newest {pruning.KEEP_JOBS_PER_HOST} jobs of each host" in care
    assert str(Paths.of(None).secrets_file) in disaster
