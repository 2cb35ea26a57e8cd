"""A newcomer's first hour: nginx with a private CA in front, one machine, and all that a person does with it."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.deploy.proxies import Front, fronted
from tests.systemd.conftest import Host
from tests.systemd.machine import Machine
from tests.systemd.releases import Shelf, ended

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]

CA_FILE = "/etc/ssl/our-ca.pem"
LETTER = "dear ann, this is what would have been lost"


@pytest.fixture(scope="module")
def front(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with fronted("nginx", tmp_path_factory.mktemp("nginx")) as found:
        yield found


@pytest.fixture(scope="module")
def shelf(front: Front) -> Iterator[Shelf]:
    with tempfile.TemporaryDirectory(prefix="restic-manager-test-") as place:
        found = Shelf(front.server, Path(place) / "releases")
        found.add()
        yield found


@pytest.fixture(scope="module")
def host(boot: Callable[[], Machine], front: Front, shelf: Shelf) -> Host:
    """Installed by the line of the page, as the docs extend it for a private CA, with the current release."""
    machine = boot()
    machine.write(CA_FILE, front.ca.read_text())
    # the name in the certificate; debootstrap leaves this file to whoever sets the machine up
    machine.out("echo '127.0.0.1 localhost' >>/etc/hosts")
    settings = f"RM_TOKEN={front.server.line()[1]}\nRM_CA_FILE={CA_FILE}\n"
    fetch = f"curl -fsSL --cacert {CA_FILE} {front.url}/install.sh"
    machine.out("mkdir -p /srv/backup /srv/data")
    machine.out(f"{{ printf '%s' '{settings}'; {fetch}; }} | sh -s -- --writable /srv/backup")
    [found] = front.server.hosts()
    host = Host(machine, front.server, str(found["id"]))
    host.wait_until_connected()
    return host


def test_a_file_that_was_lost_comes_back_from_the_first_backup(host: Host) -> None:
    host.machine.write("/srv/data/letter", LETTER)
    host.use_repository("/srv/backup")
    host.group("data", "/srv/data")
    backup = host.finish(host.order(kind="backup", source_group_id=host.groups["data"]))
    assert backup["outcome"] == "succeeded", backup
    host.machine.out("rm /srv/data/letter")

    wish = {"snapshot_id": backup["summary"]["snapshot_id"], "paths": ["/srv/data"], "target": ""}
    back = host.finish(str(host.ask("POST", "/restores", wish)["job_id"]))

    assert back["outcome"] == "succeeded", back
    assert host.machine.out(f"cat {back['summary']['target']}/srv/data/letter") == LETTER


def test_the_agent_is_updated_by_the_button_and_goes_back_by_the_other(host: Host, shelf: Shelf) -> None:
    before = host.machine.out("rm-agent version")
    newer = shelf.add()

    update = ended(host, shelf.ask(host))
    at_newer = host.machine.out("rm-agent version")
    back = ended(host, str(host.ask("POST", "/rollback", {"reason": "to see the way back"})["attempt_id"]))

    assert [update["state"], back["state"]] == ["succeeded"] * 2
    assert newer["version"] in at_newer
    assert host.machine.out("rm-agent version") == before
    host.wait_until_connected()
