"""The server as an image: how it runs, and a host that is updated across two images that were built apart."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.machine import Machine
from demo.person import Person
from demo.releases import Releases
from tests.image.images import USER, Container, Images, Sealed, image_store, missing, tree
from tests.install.server import PASSWORD, ROOT, free_port, until
from tests.stopwatch import Stopwatch

pytestmark = [pytest.mark.root, pytest.mark.timeout(400, func_only=True)]


@pytest.fixture(scope="module")
def images() -> Iterator[Images]:
    absent = missing()
    if absent:
        pytest.skip(absent)
    with image_store() as found:
        yield found


@pytest.fixture(scope="module")
def built(images: Images, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The names of two images, by version; each from a tree of its own, signed with the same keys."""
    place = tmp_path_factory.mktemp("trees")
    releases = Releases(place / "releases", environment=lambda **more: os.environ | more)
    names = {}
    for version, seq in (("0.1.0", 1), ("0.2.0", 2)):
        source = tree(place / f"tree {version}", version, releases.make(version, seq))
        names[version] = f"localhost/server:{version}"
        images.run(str(source / "scripts" / "image"), names[version], cwd=source)
    return names


def test_without_a_signed_release_no_image_is_built_and_the_sentence_says_why(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    shutil.copy2(ROOT / "scripts" / "image", tmp_path / "scripts" / "image")

    done = subprocess.run(
        [str(tmp_path / "scripts" / "image")], capture_output=True, text=True, check=False, timeout=20
    )

    assert done.returncode == 1
    assert "Run `make release` where the keys are" in done.stderr


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An empty volume that belongs to the image's user."""
    found = tmp_path / "data"
    found.mkdir(mode=0o700)
    os.chown(found, USER, USER)
    return found


@pytest.fixture
def sealed(images: Images, built: dict[str, str], data: Path) -> Iterator[Sealed]:
    found = Sealed(images, built["0.1.0"], free_port(), data)
    yield found
    found.stop()


def test_the_image_says_how_to_see_that_it_is_well_and_has_no_right_it_does_not_need(
    images: Images, built: dict[str, str]
) -> None:
    found = json.loads(images.run("buildah", "inspect", "--type", "image", built["0.1.0"]))["Docker"]["config"]

    assert found["User"] == "restic-manager"
    assert list(found["Volumes"]) == ["/data"]
    assert list(found["ExposedPorts"]) == ["8080/tcp"]
    assert "/healthz" in " ".join(found["Healthcheck"]["Test"])
    assert found["Labels"]["org.opencontainers.image.version"] == "0.1.0"


def test_it_runs_on_a_root_that_cannot_be_written_and_its_own_health_check_says_that_it_is_well(
    sealed: Sealed, images: Images, built: dict[str, str]
) -> None:
    sealed.start()

    config = json.loads(images.run("buildah", "inspect", "--type", "image", built["0.1.0"]))["Docker"]["config"]
    check = [part.replace(":8080/", f":{sealed.port}/") for part in config["Healthcheck"]["Test"][1:]]
    root = sealed.root
    done = subprocess.run(["chroot", root, *check], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in sealed.data.iterdir() if path.suffix in (".db", ".key")) == [
        "restic-manager.db", "secret.key",
    ]  # fmt: skip


def test_it_starts_again_after_a_kill_with_all_that_it_had(sealed: Sealed) -> None:
    person = Person(sealed.start().url)
    person.set_up(token="setup", username="alice", password=PASSWORD)

    sealed.kill()
    sealed.start()

    person.sign_in(username="alice", password=PASSWORD)


def test_a_second_copy_on_the_same_volume_refuses_and_the_first_goes_on(
    sealed: Sealed, images: Images, built: dict[str, str]
) -> None:
    sealed.start()

    second = Sealed(images, built["0.1.0"], free_port(), sealed.data).launch()

    assert second.process is not None
    assert second.process.wait(60) != 0
    assert "already" in second.log.read_text()
    assert Person(sealed.url).is_well()


def test_it_is_gone_within_five_seconds_of_being_told_to_stop(sealed: Sealed) -> None:
    sealed.start()
    assert sealed.process is not None
    watch = Stopwatch()

    sealed.process.send_signal(signal.SIGTERM)
    sealed.process.wait(60)

    assert watch.seconds < 5
    assert sealed.process.returncode == 0


def test_a_host_is_updated_across_two_images_that_were_built_apart(
    images: Images, built: dict[str, str], data: Path, tmp_path: Path
) -> None:
    port = free_port()
    person = Person(f"http://127.0.0.1:{port}")
    machine = Machine(
        "web1", directory=tmp_path, base_url=person.base_url, environment=lambda **more: os.environ | more
    )
    first = Container(images, built["0.1.0"], port, data).start()
    second = Container(images, built["0.2.0"], port, data)
    try:
        person.set_up(token="setup", username="alice", password=PASSWORD)
        person.sign_in(username="alice", password=PASSWORD)
        machine.enrol(person.ask("POST", "/enrolment-tokens", {"max_uses": 1})["token"])
        machine.start()
        until(lambda: _host(person)["status"] == "online", "the host to be online", seconds=30)
        [release] = person.ask("GET", "/releases")["items"]
        person.ask("POST", f"/releases/{release['id']}/promote")

        first.stop()
        second.start()
        offered = {one["version"]: one for one in person.ask("GET", "/releases")["items"]}
        before = (_host(person)["agent_version"], offered["0.1.0"]["state"], offered["0.2.0"]["state"])
        person.ask("POST", f"/releases/{offered['0.2.0']['id']}/promote")
        until(lambda: _host(person)["status"] == "online", "the host to be back", seconds=60)
        started = person.ask("POST", "/fleet-updates", {"soak_seconds": 1})
        path = f"/fleet-updates/{started['id']}"
        until(lambda: person.ask("GET", path)["state"] not in ("planned", "running"), "its end", seconds=120)

        assert before == ("0.1.0", "current", "imported")
        assert person.ask("GET", path)["state"] == "completed"
        assert _host(person)["agent_version"] == "0.2.0"
    finally:
        machine.stop(seconds=10)
        first.stop()
        second.stop()


def _host(person: Person) -> dict[str, str]:
    found: dict[str, str] = person.ask("GET", "/hosts")["items"][0]
    return found
