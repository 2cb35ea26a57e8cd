"""The agent and real restics against a real rest-server: append-only, users, and the maintenance slot."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.secrets import Secrets, SecretsFile
from rm.shared.protocol import JobFinished, RepositoryConfig
from tests.agent import quick_key
from tests.agent.conftest import PASSWORD, Rig, bare_rig, quick_polling, rig, server
from tests.restserver import tools

__all__ = ["bare_rig", "quick_polling", "rig", "server"]

pytestmark = pytest.mark.restic

USERS = {"web1": "adds only", "keeper": "may/delete"}


@dataclass
class Place:
    """One repository behind two rest-servers: one that only adds, one that may delete."""

    rig: Rig
    program: str
    adding: str
    deleting: str

    def configure(self, **maintenance: str) -> None:
        repository = RepositoryConfig(
            id="repo-1",
            name="fleet",
            location=f"rest:{self.adding}",
            password=PASSWORD,
            username="web1",
            secret=USERS["web1"],
            **maintenance,
        )
        secrets = Secrets(
            server=self.rig.server.url,
            host_id="host-1",
            credential=self.rig.server.credential,
            config_version=1,
            repositories={"repo-1": repository},
        )
        SecretsFile(self.rig.paths).save(secrets)

    def run(self, kind: str, **fields: object) -> JobFinished:
        """What the agent reports of such a job."""
        order = self.rig.order(kind, **fields)
        if self.rig.agent is None:
            self.rig.start()
        self.rig.server.connected().send(order)
        finished: JobFinished = self.rig.server.wait_for("job.finished", seconds=60, job_id=order.job_id).payload
        return finished

    def restic(self, *arguments: str) -> str:
        """The same restic beside the agent, with the right to delete."""
        host = self.deleting.removeprefix("http://")
        environment = self.rig.environment() | {"RESTIC_REPOSITORY": f"rest:http://keeper:may%2Fdelete@{host}"}
        done = subprocess.run([self.program, *arguments], env=environment, capture_output=True, text=True, check=True)
        return done.stdout


@pytest.fixture(params=["installed", "newer"])
def place(request: pytest.FixtureRequest, rig: Rig, tmp_path: Path) -> Iterator[Place]:
    program = tools.program(request.param)
    rig.use(program)
    data = tmp_path / "served"
    data.mkdir()
    (data / ".htpasswd").write_text(tools.htpasswd(USERS))
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "RESTIC_PASSWORD": PASSWORD}
    repository = data / "fleet"
    subprocess.run([program, "-r", repository, "init", "--no-cache"], env=environment, check=True, capture_output=True)
    quick_key.cheapen(repository, PASSWORD)
    with tools.rest_server(data, "--append-only") as adding, tools.rest_server(data) as deleting:
        yield Place(rig, program, f"{adding}fleet/", f"{deleting}fleet/")
        rig.stop()


def with_something_to_prune(place: Place) -> None:
    place.run("backup")
    place.restic("forget", "--unsafe-allow-remove-all" if place.program != "restic" else "latest", "latest")


def test_backups_checks_and_unlocks_need_no_right_to_delete(place: Place) -> None:
    place.configure()

    backed_up, checked, unlocked = place.run("backup"), place.run("check"), place.run("unlock")

    assert (backed_up.outcome, backed_up.reason) == ("succeeded", "")
    assert (checked.outcome, checked.message[:20]) == ("succeeded", "No errors were found")
    assert (unlocked.outcome, unlocked.message) == ("succeeded", "There was no lock to remove.")


def test_a_maintenance_location_prunes_what_the_everyday_one_only_adds_to(place: Place) -> None:
    place.configure(
        maintenance_username="keeper", maintenance_secret=USERS["keeper"], maintenance_location=f"rest:{place.deleting}"
    )
    with_something_to_prune(place)

    pruned = place.run("prune")

    assert (pruned.outcome, pruned.exit_code) == ("succeeded", 0), pruned
    assert "freed" in pruned.message
    assert not any("may/delete" in str(message.payload) for message in place.rig.server.received)


def test_a_wrong_backend_user_is_told_apart_from_append_only(place: Place) -> None:
    place.configure(maintenance_username="keeper", maintenance_secret="wrong")

    refused = place.run("prune")

    assert (refused.outcome, refused.reason) == ("failed", "unreachable")


# Restic 0.14 tries again for three quarters of a minute; its words are in tests/agent/test_upkeep.py.
@pytest.mark.parametrize("place", ["newer"], indirect=True)
def test_where_only_adding_is_allowed_a_prune_says_what_is_missing(place: Place) -> None:
    place.configure()
    with_something_to_prune(place)

    refused = place.run("prune")

    assert (refused.outcome, refused.reason, refused.exit_code) == ("failed", "append_only", 1)
    assert "maintenance credential" in refused.message
