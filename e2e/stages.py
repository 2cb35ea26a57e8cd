"""Where the end-to-end tests play: on this machine with booted Debian hosts, or in the containers of compose."""

import base64
import os
import secrets
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from demo.person import Person
from demo.releases import Releases
from tests.image.images import USER, Images, Sealed, image_store, tree
from tests.image.images import missing as missing_for_images
from tests.install.server import ROOT, free_port, until
from tests.restserver.tools import newer_directory, rest_server
from tests.systemd import machine as machines
from tests.systemd.machine import Machine

SETUP_TOKEN = "setup-for-the-end-to-end-tests"
METRICS_TOKEN = "metrics-for-the-end-to-end-tests"
NAMES = ("web1", "db1")
EXITS_AT_ONCE = "import sys\nif sys.argv[-1] == 'run':\n    sys.exit(3)\n"
# Which releases there are, in their order: what the agent does besides being the next one.
RELEASES = {"1.0.0": "", "1.1.0": "", "1.2.0": "", "1.3.0": EXITS_AT_ONCE, "1.4.0": ""}


class Host(Protocol):
    """A machine with or without an agent."""

    name: str

    def announce(self) -> None:
        """Run the install script without a token, in the background."""

    def said(self) -> str:
        """What the install script has printed."""

    def read(self, path: str) -> bytes:
        """What is in a file of the machine."""

    def write(self, path: str, data: bytes) -> None:
        """Make a file on the machine, and the directory it is in."""

    def log(self) -> str:
        """What the install script and the agent have said."""


class Stage(Protocol):
    """A server with its own releases, a rest-server, and machines that are no hosts yet."""

    url: str
    hosts: list[Host]

    def repository(self, name: str) -> str:
        """The location of a repository that is not there yet, as the hosts reach it."""

    def import_release(self, version: str) -> None: ...

    def log(self) -> str:
        """What the server has logged."""


# ---- this machine --------------------------------------------------------------------------------


def missing() -> str:
    """What keeps this machine from being the stage; empty when nothing does."""
    return missing_for_images() or machines.missing() or ("" if newer_directory() else "needs scripts/newer-restic")


@dataclass
class MachineHost:
    """A Debian of its own, booted by its own systemd."""

    machine: Machine
    server_url: str

    @property
    def name(self) -> str:
        return self.machine.name

    def announce(self) -> None:
        command = f"curl -fsS {self.server_url}/install.sh | sh > /root/install.log 2>&1"
        threading.Thread(target=self.machine.run, args=(command,), kwargs={"timeout": 600}, daemon=True).start()

    def said(self) -> str:
        return self.machine.run("cat /root/install.log").stdout

    def read(self, path: str) -> bytes:
        return base64.b64decode(self.machine.out(f"base64 -w 0 '{path}'"))

    def write(self, path: str, data: bytes) -> None:
        self.machine.out(
            f"mkdir -p '{Path(path).parent}' && echo {base64.b64encode(data).decode()} | base64 -d > '{path}'"
        )

    def log(self) -> str:
        return self.said() + self.machine.run("journalctl -u 'rm-agent*' --no-pager -n 2000").stdout


@dataclass
class LocalStage:
    """The server from its image, on a root that cannot be written."""

    server: Sealed
    hosts: list[Host]
    releases: dict[str, Path]
    maker: Releases
    rest_url: str

    @property
    def url(self) -> str:
        return self.server.url

    def repository(self, name: str) -> str:
        return f"rest:{self.rest_url}{name}/"

    def import_release(self, version: str) -> None:
        self.maker.import_into(self.server.data, self.releases[version])
        # The command line ran as another user than the server.
        for path in self.server.data.rglob("*"):
            os.chown(path, USER, USER)

    def log(self) -> str:
        return self.server.log.read_text(errors="replace")


@contextmanager
def local(place: Path) -> Iterator[Stage]:
    """Everything on this machine's loopback network, ended with the block."""
    with ExitStack() as stack:
        kept = Path(stack.enter_context(machine_directory()))
        images: Images = stack.enter_context(image_store(kept))
        maker = Releases(place / "releases", environment=lambda **more: os.environ | more)
        releases = {
            version: maker.make(version, seq, code=code) for seq, (version, code) in enumerate(RELEASES.items(), 1)
        }
        source = tree(place / "tree", "1.0.0", releases["1.0.0"])
        images.run(str(source / "scripts" / "image"), "localhost/server:e2e", cwd=source, seconds=900)
        data = place / "data"
        data.mkdir(mode=0o700)
        os.chown(data, USER, USER)
        server = Sealed(
            images, "localhost/server:e2e", free_port(), data,
            more={"RM_METRICS_TOKEN": METRICS_TOKEN, "RM_SETUP_TOKEN": SETUP_TOKEN},
        )  # fmt: skip
        stack.callback(end, server)
        server.launch()
        until(Person(server.url).is_well, "the server in the image to answer", seconds=180)
        (place / "repositories").mkdir()
        rest = stack.enter_context(rest_server(place / "repositories", "--no-auth"))
        debian = machines.tree()
        hosts: list[Host] = []
        mark = os.environ.get("RM_E2E_RUN") or f"e2e-{secrets.token_hex(3)}"
        for name in NAMES:
            machine = Machine(kept / name, debian, name=f"{name}-{mark}").make()
            stack.callback(machine.close)
            hosts.append(MachineHost(machine.boot(seconds=240), server.url))
        yield LocalStage(server, hosts, releases, maker, rest)


@contextmanager
def machine_directory() -> Iterator[str]:
    """A place whose file system can carry the upper layer of an overlay; `python -m e2e` gives its own."""
    with tempfile.TemporaryDirectory(
        dir=os.environ.get("RM_E2E_PLACE", "/var/tmp"), prefix="restic-manager-e2e-"
    ) as place:
        yield place


def end(server: Sealed) -> None:
    """Stop it; kill it when that takes too long, so that its store can be removed."""
    try:
        server.stop()
    except subprocess.TimeoutExpired:
        server.kill()


# ---- compose -------------------------------------------------------------------------------------

COMPOSE_URL = "http://127.0.0.1:18080"
COMPOSE = ("docker", "compose", "-f", str(ROOT / "e2e" / "compose.e2e.yml"))


def compose(*arguments: str, given: str | None = None) -> str:
    """What `docker compose` prints."""
    done = subprocess.run([*COMPOSE, *arguments], input=given, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, f"{arguments}\n{done.stdout}{done.stderr}"
    return done.stdout


@dataclass
class ContainerHost:
    """A container that runs the install script by itself."""

    name: str

    def announce(self) -> None:
        compose("up", "--detach", self.name)

    def said(self) -> str:
        return compose("logs", "--no-log-prefix", self.name)

    def read(self, path: str) -> bytes:
        return base64.b64decode(compose("exec", "-T", self.name, "base64", "-w", "0", path))

    def write(self, path: str, data: bytes) -> None:
        command = f"mkdir -p '{Path(path).parent}' && base64 -d > '{path}'"
        compose("exec", "-T", self.name, "sh", "-c", command, given=base64.b64encode(data).decode())

    def log(self) -> str:
        return self.said()


@dataclass
class ComposeStage:
    """What e2e/compose.e2e.yml describes; `python -m e2e.prepare` has made its releases."""

    url: str
    hosts: list[Host]

    def repository(self, name: str) -> str:
        return f"rest:http://rest-server:8000/{name}/"

    def import_release(self, version: str) -> None:
        compose("exec", "-T", "server", "flask", "--app", "app", "rm", "release", "import", f"/releases/{version}")

    def log(self) -> str:
        return compose("logs", "--no-log-prefix", "server")


@contextmanager
def in_containers() -> Iterator[Stage]:
    """The containers, fresh, and gone after the block."""
    compose("down", "--volumes", "--remove-orphans")
    try:
        compose("up", "--detach", "server", "rest-server")
        until(Person(COMPOSE_URL).is_well, "the server in its container to answer", seconds=180)
        yield ComposeStage(COMPOSE_URL, [ContainerHost(name) for name in NAMES])
    finally:
        compose("down", "--volumes", "--remove-orphans")
