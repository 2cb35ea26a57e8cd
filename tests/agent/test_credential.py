"""A new credential over the open connection: stored with the rest, used at once, and never the way to be locked out."""

import pytest

from agent.secrets import SecretsFile
from rm.shared.protocol import ConfigSet
from tests.agent.conftest import Rig, until


def stored(rig: Rig) -> tuple[str, str]:
    found = SecretsFile(rig.paths).load()
    return found.credential, found.previous_credential


def test_a_new_credential_is_stored_and_the_host_connects_with_it(rig: Rig) -> None:
    old = rig.server.credential
    rig.start()
    rig.server.connected()
    rig.server.credential = "rmh_new"

    rig.server.connections[0].send(ConfigSet(version=2, credential="rmh_new"))
    rig.server.connected(2)

    assert rig.server.connections[1].token == "Bearer rmh_new"
    assert rig.server.all("hello")[1].payload.config_version == 2
    rig.server.wait_for("schedule.ack", config_version=2, problem="")
    assert stored(rig) == ("rmh_new", old)
    assert rig.backoff.kinds == ["restart"]  # type: ignore[attr-defined]


def test_the_same_credential_again_changes_nothing_and_keeps_the_connection(rig: Rig) -> None:
    rig.start()
    rig.server.connected().send(ConfigSet(version=2, credential=rig.server.credential))

    rig.server.wait_for("schedule.ack", config_version=2)

    assert stored(rig) == (rig.server.credential, "")
    assert len(rig.server.connections) == 1


@pytest.mark.parametrize("credential", ["two words", "two\nlines", "ünprintable"])
def test_a_credential_that_cannot_be_sent_is_not_taken(rig: Rig, credential: str) -> None:
    rig.start()
    rig.server.connected().send(ConfigSet(version=2, credential=credential))

    rig.server.wait_for("schedule.ack", config_version=2)

    assert stored(rig) == (rig.server.credential, "")


def test_a_credential_that_cannot_be_stored_is_told_and_the_old_one_goes_on(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.start()
    rig.server.connected()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("agent.secrets.durable.write", full)
    rig.server.connections[0].send(ConfigSet(version=2, credential="rmh_new"))

    told = rig.server.wait_for("schedule.ack").payload
    assert (told.config_version, "No space left" in told.problem) == (1, True)
    assert stored(rig) == (rig.server.credential, "")
    assert len(rig.server.connections) == 1


def test_a_server_that_forgot_the_new_credential_is_reached_with_the_one_before(rig: Rig) -> None:
    """A power cut or a restored backup may cost the server its last moments."""
    old = rig.server.credential
    SecretsFile(rig.paths).set_config(version=2, repositories=[], credential="rmh_new")

    rig.start()
    rig.server.connected()

    assert rig.server.connections[0].token == f"Bearer {old}"
    until(lambda: stored(rig) == (old, ""))


def test_a_host_whose_credentials_are_both_refused_goes_on_trying_each(rig: Rig) -> None:
    SecretsFile(rig.paths).set_config(version=2, repositories=[], credential="rmh_new")
    rig.server.refuses = True
    rig.start()
    until(lambda: len(getattr(rig.backoff, "kinds", [])) >= 4)

    rig.server.refuses = False
    rig.server.credential = "rmh_new"
    rig.server.connected()

    assert rig.server.connections[0].token == "Bearer rmh_new"
