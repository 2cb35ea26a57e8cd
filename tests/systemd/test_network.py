"""A private CA and a proxy that wants a password, from the download of the script to the agent's WebSocket."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.install.doors import ProxyDoor, TlsDoor, make_ca
from tests.install.server import Server, until
from tests.systemd.machine import Machine

pytestmark = [pytest.mark.root, pytest.mark.timeout(120, func_only=True)]

# Only the proxy knows this name.
NAME = "backup.example"
BASE_URL = f"https://{NAME}"
CA_FILE = "/etc/ssl/our-ca.pem"
SECRET = "proxy secret+1"
SECRET_IN_URL = "proxy%20secret%2B1"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_ca(tmp_path_factory.mktemp("ca"), NAME)


@pytest.fixture(scope="module")
def far_server(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    found = Server(tmp_path_factory.mktemp("far"), base_url=BASE_URL).start()
    yield found
    found.stop()


@pytest.fixture(scope="module")
def proxy(far_server: Server, authority: tuple[Path, Path]) -> Iterator[ProxyDoor]:
    tls = TlsDoor(certificate=authority[1], server_port=far_server.port)
    found = ProxyDoor(user="host", password=SECRET, names={f"{NAME}:443": tls.port})
    tls.open()
    found.open()
    yield found
    found.close()
    tls.close()


@pytest.fixture(scope="module")
def machine(boot: Callable[[], Machine], authority: tuple[Path, Path]) -> Machine:
    found = boot()
    found.write(CA_FILE, authority[0].read_text())
    return found


def line(server: Server, proxy: ProxyDoor, *, secret: str = SECRET_IN_URL, ca_file: str = CA_FILE) -> str:
    """The page's line as the docs extend it: the settings as more lines before the script, none in an argument list."""
    token = server.line()[1]
    url = f"http://host:{secret}@127.0.0.1:{proxy.port}"
    right = f"http://host:{SECRET_IN_URL}@127.0.0.1:{proxy.port}"
    settings = f"RM_TOKEN={token}\nRM_PROXY={url}\n" + (f"RM_CA_FILE={ca_file}\n" if ca_file else "")
    return (
        f"{{ printf '%s' '{settings}'; https_proxy={right} curl -fsSL --cacert {CA_FILE} {BASE_URL}/install.sh; }} | sh"
    )


def test_a_wrong_proxy_password_is_named_and_nothing_is_left(
    machine: Machine, far_server: Server, proxy: ProxyDoor
) -> None:
    done = machine.run(line(far_server, proxy, secret="wrong"))

    assert (done.returncode, "did not let the connection through" in done.stderr) == (1, True), done.stderr
    assert "wrong" not in done.stdout + done.stderr
    assert machine.run("ls -d /usr/local/lib/restic-manager /etc/restic-manager /var/restic-manager").stdout == ""


def test_an_authority_that_is_not_named_is_asked_for(machine: Machine, far_server: Server, proxy: ProxyDoor) -> None:
    done = machine.run(line(far_server, proxy, ca_file=""))

    assert done.returncode == 1
    assert "is not trusted" in done.stderr
    assert "RM_CA_FILE=" in done.stderr


def test_the_whole_path_goes_through_the_proxy_and_trusts_the_private_authority(
    machine: Machine, far_server: Server, proxy: ProxyDoor
) -> None:
    proxy.seen.passed.clear()

    done = machine.run(line(far_server, proxy))

    assert done.returncode == 0, done.stdout + done.stderr
    # The script, the agent, the enrolment and the WebSocket.
    assert len(proxy.seen.passed) >= 4
    assert [host["hostname"] for host in far_server.hosts()] == [machine.name]
    assert machine.out("stat -c %a /etc/restic-manager/agent.toml") == "600"
    assert SECRET_IN_URL not in machine.out("cat /proc/*/cmdline | tr '\\0' ' '; journalctl --no-pager")


def test_a_later_run_and_a_restart_find_both_settings_again(
    machine: Machine, far_server: Server, proxy: ProxyDoor
) -> None:
    fetch = f"https_proxy=http://host:{SECRET_IN_URL}@127.0.0.1:{proxy.port} curl -fsS --cacert {CA_FILE} {BASE_URL}"

    said = machine.out(f"{fetch}/install.sh | sh -s -- --repair")

    assert f"connected to {BASE_URL}" in said
    until(lambda: "connected since" in machine.run("rm-agent status").stdout, "the connection")
    assert "failed" not in machine.out("rm-agent doctor")
