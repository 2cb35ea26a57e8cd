"""The server's image, built by buildah in a store of its own, and run from there."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from demo.person import Person
from demo.processes import belonging_to
from tests.install.server import ROOT, until

BASE = "localhost/base"
CERTIFICATES = Path("/etc/ssl/certs")
USER = 10001


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


def missing() -> str:
    """What keeps this machine from building images; empty when nothing does."""
    absent = [name for name in ("buildah", "debootstrap") if shutil.which(name) is None]
    if os.getuid() == 0 and not absent:
        return ""
    return f"needs root, {' and '.join(absent) or 'which is missing'} (scripts/system-packages image)"


@contextmanager
def image_store(place: Path = Path("/var/tmp")) -> Iterator[Images]:
    """A store with the base image in it, that is gone after the block."""
    # Not pytest's own directory: an overlay cannot keep its layers on another overlay, which /tmp may be.
    store = Path(tempfile.mkdtemp(dir=place, prefix="restic-manager-images-"))
    (store / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{store / "graph"}"\nrunroot = "{store / "run"}"\n'
    )
    found = Images(store)
    try:
        found.run(str(ROOT / "scripts" / "image-base"), BASE)
        yield found
    finally:
        for command in (["buildah", "rm", "--all"], ["buildah", "rmi", "--all", "--force"]):
            subprocess.run(command, env=found.environment, capture_output=True, check=False, timeout=60)
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


@dataclass
class Sealed:
    """The server of an image whose root cannot be written, with /tmp and /data alone to write to, as its user."""

    images: Images
    name: str
    port: int
    data: Path
    more: dict[str, str] = field(default_factory=dict)
    root: str = ""
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.data.parent / "sealed.log"

    def launch(self) -> "Sealed":
        """Start it, without waiting for an answer."""
        if not self.root:
            container = self.images.run("buildah", "from", "--pull-never", self.name)
            self.root = self.images.run("buildah", "mount", container)
        settings = {
            "PATH": "/app/.venv/bin:/usr/bin:/bin", "RM_LISTEN": f"127.0.0.1:{self.port}", "RM_BASE_URL": self.url,
            "RM_DATA_DIR": "/data", "RM_SETUP_TOKEN": "setup", "RM_RELEASE_DIR": "/app/dist/release",
            **self.more,
        }  # fmt: skip
        inside = (
            'set -e; mount --bind "$1" "$1"; mount --rbind /dev "$1/dev"; mount -t tmpfs tmpfs "$1/tmp";'
            ' mount --bind "$2" "$1/data"; mount -o remount,bind,ro "$1"; shift;'
            f' cd "$0"; shift; exec chroot --userspec={USER}:{USER} "$0" env -i "$@"'
        )
        start = "cd /app && exec gunicorn -c gunicorn.conf.py app:app"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", "sh", "-c", inside, self.root, self.root,
                 str(self.data), *(f"{key}={value}" for key, value in settings.items()), "sh", "-c", start],
                env=self.images.environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        return self

    def start(self) -> "Sealed":
        self.launch()
        until(Person(self.url).is_well, "the server in the image to answer", seconds=60)
        return self

    def kill(self) -> None:
        """kill -9 of everything at once."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(20)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)
