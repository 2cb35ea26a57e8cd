"""A server without containers: installed, upgraded and taken back on a machine, by the blocks of the docs."""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from demo.person import Person
from demo.processes import free_port
from demo.releases import Releases
from demo.waiting import DemoFailed
from rm.store.migrate import SCHEMA_FILE, schema_version
from tests.image.images import tree as source_tree
from tests.install.server import PASSWORD, ROOT, Server, until
from tests.systemd import machine as machines
from tests.systemd.conftest import Host, install
from tests.systemd.machine import Machine

pytestmark = [pytest.mark.root, pytest.mark.timeout(420)]

DOCS = ROOT / "docs"
PRESENT, LATER = "1.0.0", "1.1.0"
KNOWN = schema_version(SCHEMA_FILE.read_text())
CLONE, DATA, UNIT = "/opt/restic-manager", "/var/lib/restic-manager", "restic-manager.service"
DATABASE = f"{DATA}/restic-manager.db"


def block(page: str, heading: str, containing: str) -> str:
    """The one block of commands below a heading that has this in it."""
    [section] = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", (DOCS / page).read_text(), re.M | re.S)
    [found] = [one for one in re.findall(r"^```\w*\n(.*?)^```", section, re.M | re.S) if containing in one]
    return str(found)


@dataclass
class Installed:
    """A machine with the server as its unit, and what a person has there."""

    machine: Machine
    releases: dict[str, Path]
    server: Server
    host: Host = field(init=False)

    @property
    def person(self) -> Person:
        return self.server.person

    def type_in(self, commands: str) -> str:
        """What a block of the docs prints; each line of it must succeed."""
        done = self.machine.run(f"set -e\n{commands}", timeout=180)
        assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}"
        return done.stdout

    def publish(self, version: str) -> None:
        """Commit this version where the clone comes from; the later one brings a table and another lock file."""
        origin = self.machine.root / "srv" / "origin"
        fresh = self.machine.directory / version
        source_tree(fresh, version, self.releases[version])
        if version == LATER:
            schema = fresh / "schema.sql"
            table = "CREATE TABLE later_things (\n    id TEXT PRIMARY KEY NOT NULL\n) STRICT;\n"
            schema.write_text(
                schema.read_text().replace(f"user_version = {KNOWN};", f"user_version = {KNOWN + 1};") + table
            )
            (fresh / "rm" / "store" / "migrations" / f"{KNOWN + 1:04}_add_later_things.sql").write_text(table)
            with (fresh / "requirements" / "server.txt").open("a") as lock:
                lock.write("# as the later version wants it\n")
        shutil.copytree(fresh, origin, dirs_exist_ok=True)
        if not (origin / ".git").exists():
            git(origin, "init", "--quiet")
        git(origin, "add", "--all")
        git(origin, "commit", "--quiet", "--message", version)

    def make_release(self, version: str) -> None:
        """What `make release` leaves in the clone."""
        target = self.machine.root / CLONE[1:] / "dist" / "release"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.releases[version], target)

    def journal(self) -> str:
        return self.machine.out(f"journalctl -u {UNIT} --no-pager -o cat")

    def wait_until_well(self) -> None:
        until(self.person.is_well, "the server to be well", seconds=90)

    def stored(self, question: str, file: str = DATABASE) -> str:
        """What a query of a database on the machine finds."""
        program = f"import sqlite3; print(*sqlite3.connect('file:{file}?mode=ro', uri=True).execute('{question}'))"
        return self.machine.out(f'python3 -c "{program}"')

    def copies(self) -> list[str]:
        """Copies that were made before a migration."""
        return self.machine.out(f"ls {DATABASE}.before-{KNOWN + 1}-* 2>/dev/null || true").split()

    def versions(self) -> dict[str, str]:
        """The releases that the server knows, and how each stands."""
        return {one["version"]: one["state"] for one in self.person.ask("GET", "/releases")["items"]}

    def back_up(self) -> dict[str, Any]:
        return self.host.finish(self.host.order(kind="backup", source_group_id=self.host.groups["data"]))


def git(directory: Path, *arguments: str) -> None:
    name = ("-c", "user.name=Alice", "-c", "user.email=alice@example.org")
    subprocess.run(["git", *name, *arguments], cwd=directory, check=True, capture_output=True)


def wheels(place: Path) -> Path:
    """The server's packages as files, so that the machine needs no index of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes", "--only-binary", ":all:",
         "--python-version", "3.11", "-r", str(ROOT / "requirements" / "server.txt"), "-d", str(place)],
        capture_output=True, text=True, check=False, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture(scope="module")
def installed(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """The block of the page about installing, a first account, a host with a finished backup."""
    maker = Releases(tmp_path_factory.mktemp("releases"), environment=dict)
    releases = {version: maker.make(version, seq) for seq, version in enumerate((PRESENT, LATER), 1)}
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="restic-manager-test-") as place:
        machine = Machine(Path(place) / "machine", machines.tree("git", "python3-venv", "sudo")).make()
        try:
            server = Server(Path(place), port=free_port())
            server.base_url = server.local_url
            server.person = Person(server.local_url)
            found = Installed(machine, releases, server)
            found.publish(PRESENT)
            wheels(machine.root / "srv" / "wheels")
            machine.write_offline("/etc/pip.conf", "[global]\nno-index = true\nfind-links = /srv/wheels\n")
            machine.boot()
            set_up(found)
            yield found
        finally:
            machine.close()


def set_up(found: Installed) -> None:
    commands = block("getting-started/server.md", "Without a container", "useradd")
    first, rest = commands.split("\n", 1)
    found.type_in(first.replace("<this repository>", "/srv/origin"))
    found.make_release(PRESENT)
    url = found.server.local_url
    ours = {
        "RM_BASE_URL": url, "RM_LISTEN": url.removeprefix("http://"), "RM_COOKIE_SECURE": "false",
        "RM_RELEASE_DIR": f"{CLONE}/dist/release",
    }  # fmt: skip
    settings = "".join(f"echo {name}={value} >> /etc/restic-manager/server.env\n" for name, value in ours.items())
    assert "sudo systemctl enable" in rest
    rest = rest.replace("sudo systemctl enable", f"{settings}sudo systemctl enable").replace("journalctl -fu", "true")
    found.type_in(rest)
    found.wait_until_well()
    link = re.search(r"/setup\?token=(\S+)", found.journal())
    assert link is not None, found.journal()
    found.person.set_up(token=link[1], username="alice", password=PASSWORD)
    found.person.sign_in(username="alice", password=PASSWORD)
    [release] = found.person.ask("GET", "/releases")["items"]
    found.person.ask("POST", f"/releases/{release['id']}/promote")
    found.machine.write("/srv/data/letter", "dear ann")
    found.machine.out("mkdir -p /srv/backup")
    found.host = install(found.machine, found.server, "--writable", "/srv/backup")
    found.host.wait_until_connected()
    found.host.use_repository("/srv/backup")
    found.host.group("data", "/srv/data")


def test_a_server_is_upgraded_and_taken_back_by_the_commands_of_the_page(installed: Installed) -> None:
    page = "operations/upgrading.md"
    before = installed.back_up()
    assert before["outcome"] == "succeeded", before

    # an upgrade, with what the page wants before it
    elsewhere = "/srv/elsewhere/before-upgrade.db"
    installed.machine.out(f"install -d -o restic-manager {Path(elsewhere).parent}")
    copy = block("operations/server-care.md", "On the command line", "sudo -u restic-manager")
    installed.type_in(copy.replace("rm backup", f"rm backup --to {elsewhere}"))
    installed.publish(LATER)
    # the release lies in the clone before the restart, as where `make release` was run
    restart = "sudo systemctl restart restic-manager"
    commands = block(page, "Without containers", restart)
    pull, rest = commands.split("sudo scripts/make-venv server", 1)
    installed.type_in(pull)
    installed.make_release(LATER)
    installed.type_in(f"cd {CLONE}\nsudo scripts/make-venv server{rest}")
    installed.wait_until_well()

    assert installed.stored("PRAGMA user_version") == f"({KNOWN + 1},)"
    assert f"migrated the database from version {KNOWN} to {KNOWN + 1}" in installed.journal()
    [kept] = installed.copies()
    assert installed.stored("PRAGMA user_version", kept) == f"({KNOWN},)"
    assert installed.stored("SELECT username FROM users", kept) == installed.stored("SELECT username FROM users")
    assert installed.machine.out(f"stat -c '%U %a' {kept} {elsewhere}").splitlines() == ["restic-manager 600"] * 2
    # nobody has to sign in again, and what was there is there
    assert installed.host.job(before["id"])["outcome"] == "succeeded"
    assert installed.versions() == {PRESENT: "current", LATER: "imported"}
    installed.host.wait_until_connected()
    between = installed.back_up()
    assert between["outcome"] == "succeeded", between

    # the old program by itself refuses, and touches nothing
    back = block(page, "Going back", "ORIG_HEAD")
    assert back.count("restic-manager.db.before-…") == 1
    to_old, restore = back.split("sudo -u restic-manager", 1)
    installed.type_in(to_old)
    installed.machine.run(f"systemctl start {UNIT}")
    until(lambda: "was written by a newer restic-manager" in installed.journal(), "the refusal", seconds=60)
    assert not installed.person.is_well()
    installed.machine.out(f"systemctl stop {UNIT}")
    assert installed.stored("PRAGMA user_version") == f"({KNOWN + 1},)"

    # and goes on with the copy
    restore = restore.replace(f"{DATABASE}.before-…", kept)
    installed.type_in(f"cd {CLONE}\nsudo -u restic-manager{restore}")
    installed.wait_until_well()

    assert installed.stored("PRAGMA user_version") == f"({KNOWN},)"
    assert len(installed.machine.out(f"ls {DATABASE}.before-restore-*").split()) == 1
    installed.person.sign_in(username="alice", password=PASSWORD)
    assert installed.host.job(before["id"])["outcome"] == "succeeded"
    with pytest.raises(DemoFailed, match="404"):
        installed.host.job(between["id"])
    installed.host.wait_until_connected()
    after = installed.back_up()
    assert after["outcome"] == "succeeded", after
    assert len(installed.host.restic("snapshots --compact").splitlines()) > 5
