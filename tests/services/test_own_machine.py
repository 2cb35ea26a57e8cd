"""Which hosts are the machine that the server runs on."""

import hashlib
import hmac
from pathlib import Path

import pytest

from rm.services import own_machine
from tests.cast import EnrolledHost, host_row


@pytest.fixture
def machine_id(monkeypatch: pytest.MonkeyPatch) -> str:
    """What an agent beside this server would say; whatever machine runs the test has the same id."""
    read = Path.read_text
    monkeypatch.setattr(
        Path, "read_text", lambda path, *more: "abc\n" if path.name == "machine-id" else read(path, *more)
    )
    return hmac.new(b"abc", b"restic-manager", hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    ("address", "is_own"),
    [("127.0.0.1", True), ("::1", True), ("192.0.2.7", False), ("", False), ("not an address", False)],
)
def test_a_host_that_connects_from_loopback_is_the_servers_own(
    web1: EnrolledHost, machine_id: str, address: str, is_own: bool
) -> None:
    row = host_row(web1)
    row.last_address = address

    assert own_machine.own_hosts([row]) == ({web1.id} if is_own else set())


def test_a_host_with_this_machines_id_is_the_servers_own_wherever_it_connects_from(
    web1: EnrolledHost, db1: EnrolledHost, machine_id: str
) -> None:
    rows = [host_row(web1), host_row(db1)]
    for row in rows:
        row.last_address = "192.0.2.7"
    rows[0].machine_id = machine_id

    assert own_machine.own_hosts(rows) == {web1.id}
