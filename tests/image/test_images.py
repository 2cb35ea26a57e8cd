"""The server as an image: built twice from separate trees with the same keys, and a host updated across the two."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from demo.machine import Machine
from demo.person import Person
from demo.processes import belonging_to
from demo.releases import Releases
from tests.install.server import PASSWORD, ROOT, free_port, until

pytestmark = [pytest.mark.root, pytest.mark.timeout(400, func_only=True)]

BASE = "localhost/base"
CERTIFICATES = Path("/etc/ssl/certs")


@dataclass
class Images:
    """buildah with a store of its own."""

    store: Path

    def run(self, *arguments: str, cwd: Path = ROOT, seconds: float = 240) -> str:
        done = subprocess.run(
            arguments, cwd=cwd, env=self.environment, capture_output=True, text=True, check=False, timeout=seconds
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "BUILDAH_ISOLATION": "chroot",
            "BASE": BASE,
            "CONTAINERS_STORAGE_CONF": str(self.store / "storage.conf"),
            # A build reaches the package index as this machine does.
            "RM_IMAGE_OPTIONS": f"-v {CERTIFICATES}:{CERTIFICATES}:ro -v /etc/pip.conf:/etc/pip.conf:ro"
            if Path("/etc/pip.conf").exists()
            else f"-v {CERTIFICATES}:{CERTIFICATES}:ro",
        }


@pytest.fixture(scope="module")
def images() -> Iterator[Images]:
    absent = [name for name in ("buildah", "debootstrap") if shutil.which(name) is None]
    if os.getuid() != 0 or absent:
        pytest.skip(f"needs root, {' and '.join(absent) or 'which is missing'} (scripts/system-packages image)")
    # Not pytest's own directory: an overlay cannot keep its layers on another overlay, which /tmp may be.
    store = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="restic-manager-images-"))
    (store / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{store / "graph"}"\nrunroot = "{store / "run"}"\n'
    )
    found = Images(store)
    found.run(str(ROOT / "scripts" / "image-base"), BASE)
    yield found
    subprocess.run(["buildah", "rm", "--all"], env=found.environment, capture_output=True, check=False, timeout=60)
    subprocess.run(
        ["buildah", "rmi", "--all", "--force"], env=found.environment, capture_output=True, check=False, timeout=60
    )
    shutil.rmtree(store, ignore_errors=True)


def tree(place: Path, version: str, release: Path) -> Path:
    """A source tree of its own with this version and this signed release in it."""
    place.mkdir()
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True,
        check=True,
    ).stdout.splitlines()  # fmt: skip
    for name in names:
        source, target = ROOT / name, place / name
        if source.is_file() and not name.startswith(("tests/", "docs/")):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    project = place / "pyproject.toml"
    project.write_text(re.sub(r'^version = ".*"', f'version = "{version}"', project.read_text(), flags=re.MULTILINE))
    shutil.copytree(release, place / "dist" / "release", dirs_exist_ok=True)
    return place


@dataclass
class Container:
    """A server that runs from an image on a data directory outside of it."""

    images: Images
    name: str
    port: int
    data: Path
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> "Container":
        container = self.images.run("buildah", "from", "--pull-never", self.name)
        url = f"http://127.0.0.1:{self.port}"
        settings = {
            "RM_LISTEN": f"127.0.0.1:{self.port}",
            "RM_BASE_URL": url,
            "RM_SETUP_TOKEN": "setup",
            "RM_DATA_DIR": "/srv/data",
        }
        with (self.data.parent / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                # Not at /data: buildah puts a volume of its own over what is mounted there.
                ["buildah", "run", "-v", f"{self.data}:/srv/data", *(f"--env={key}={value}" for key, value in
                 settings.items()), container, "--", "gunicorn", "-c", "gunicorn.conf.py", "app:app"],
                env=self.images.environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        until(Person(url).is_well, "the server in the image to answer", seconds=60)
        return self

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(20)
            # buildah may end before the server does, which holds the data directory until then.
            own = Path(f"127.0.0.1:{self.port}")
            until(lambda: not belonging_to(own), "the server in the image to end")


def test_without_a_signed_release_no_image_is_built_and_the_sentence_says_why(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    shutil.copy2(ROOT / "scripts" / "image", tmp_path / "scripts" / "image")

    done = subprocess.run(
        [str(tmp_path / "scripts" / "image")], capture_output=True, text=True, check=False, timeout=20
    )

    assert done.returncode == 1
    assert "Run `make release` where the keys are" in done.stderr


def test_a_host_is_updated_across_two_images_that_were_built_apart(images: Images, tmp_path: Path) -> None:
    releases = Releases(tmp_path / "releases", environment=lambda **more: os.environ | more)
    for version, seq in (("0.1.0", 1), ("0.2.0", 2)):
        place = tree(tmp_path / f"tree {version}", version, releases.make(version, seq))
        images.run(str(place / "scripts" / "image"), f"localhost/server:{version}", cwd=place)
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    os.chown(data, 10001, 10001)
    port = free_port()
    person = Person(f"http://127.0.0.1:{port}")
    machine = Machine(
        "web1", directory=tmp_path, base_url=person.base_url, environment=lambda **more: os.environ | more
    )
    first = Container(images, "localhost/server:0.1.0", port, data).start()
    second = Container(images, "localhost/server:0.2.0", port, data)
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
