"""Letting hosts in."""

import re
import subprocess
from datetime import timedelta

import pytest

from rm.errors import Gone, Invalid, Unauthorised
from rm.events import HostEnrolled
from rm.services import enrolments, hosts, presence
from rm.services.enrolments import Applicant
from rm.store.models import Enrolment, Host, HostCredential
from tests import cast
from tests.cast import ALICE, NOW

WEB1 = Applicant(hostname="web1", os="linux", arch="amd64", agent_version="0.1.0", agent_seq=1, machine_id="m-web1")
DB1 = Applicant(hostname="db1", os="linux", arch="amd64", agent_version="0.1.0", agent_seq=1, machine_id="m-db1")


@pytest.fixture
def token(bus):
    return enrolments.mint_token(bus, actor=ALICE, now=NOW)[1]


def enrol(bus, token, applicant=WEB1, now=NOW):
    return enrolments.enrol(bus, token=token, applicant=applicant, address="192.0.2.9", now=now)


def test_a_token_lets_one_host_in_and_its_page_hears_of_it(bus, token):
    with bus.subscribe() as listener:
        admission = enrol(bus, token)
        events = listener.take(timeout=0)

    assert Host.get_by_id(admission.host_id).name == "web1"
    assert any(isinstance(event, HostEnrolled) and event.host_id == admission.host_id for event in events)


def test_neither_token_nor_credential_is_stored_in_the_clear(bus, token, settings):
    admission = enrol(bus, token)

    stored = b"".join(path.read_bytes() for path in settings.data_dir.glob("restic-manager.db*"))
    assert token.encode() not in stored
    assert admission.credential.encode() not in stored


def test_the_credential_opens_the_door_and_only_the_right_one(bus, token):
    admission = enrol(bus, token)

    assert presence.admit(credential=admission.credential).id == admission.host_id
    for wrong in ("", "x", admission.credential[:-1], token):
        with pytest.raises(Unauthorised):
            presence.admit(credential=wrong)


def test_an_unknown_token_is_refused(bus, app):
    with pytest.raises(Unauthorised) as caught:
        enrol(bus, "rme_invented")

    assert caught.value.code == "token_unknown"


def test_an_expired_token_is_refused_and_says_when_it_expired(bus, token):
    with pytest.raises(Gone, match="expired at 2026-11-23 13:00") as caught:
        enrol(bus, token, now=NOW + timedelta(hours=1))

    assert caught.value.code == "token_expired"


def test_a_used_token_lets_no_second_host_in(bus, token):
    enrol(bus, token)

    with pytest.raises(Gone) as caught:
        enrol(bus, token, DB1)

    assert caught.value.code == "token_used"


def test_a_lost_answer_strands_nobody_and_the_first_credential_ends(bus, token):
    first = enrol(bus, token)

    second = enrol(bus, token, now=NOW + timedelta(minutes=9))

    assert second.host_id == first.host_id
    assert presence.admit(credential=second.credential).id == first.host_id
    with pytest.raises(Unauthorised):
        presence.admit(credential=first.credential)


def test_a_repeat_after_ten_minutes_or_after_the_first_hello_is_refused(bus, token, app):
    admission = enrol(bus, token)

    with pytest.raises(Gone):
        enrol(bus, token, now=NOW + timedelta(minutes=11))
    Host.update(first_hello_at=NOW).where(Host.id == admission.host_id).execute()
    with pytest.raises(Gone):
        enrol(bus, token, now=NOW + timedelta(minutes=1))


def test_a_token_for_many_lets_so_many_in_and_gives_them_its_tags(bus):
    _, token = enrolments.mint_token(bus, actor=ALICE, now=NOW, max_uses=2, tags=("production", "web"))
    first = enrol(bus, token)
    enrol(bus, token, DB1)

    with pytest.raises(Gone):
        enrol(bus, token, Applicant("x", "linux", "amd64", "0", 0, "m-x"))

    from rm.store import hosts as queries

    assert queries.tags_of(first.host_id) == ["production", "web"]
    assert Enrolment.select().count() == 2


def test_a_revoked_token_lets_nobody_in(bus):
    row, token = enrolments.mint_token(bus, actor=ALICE, now=NOW)
    enrolments.revoke_token(bus, token_id=row.id, actor=ALICE, now=NOW)

    with pytest.raises(Gone):
        enrol(bus, token)


@pytest.mark.parametrize(
    "bad", [{"max_uses": 0}, {"max_uses": 10**9}, {"lifetime": timedelta(days=400)}, {"tags": ("a,b",)}]
)
def test_a_token_with_senseless_bounds_is_refused(bus, bad):
    with pytest.raises(Invalid):
        enrolments.mint_token(bus, actor=ALICE, now=NOW, **bad)


def test_a_revoked_host_is_refused_and_its_history_stays(bus, web1):
    hosts.revoke_credential(bus, host_id=web1.id, actor=ALICE, now=NOW)

    with pytest.raises(Unauthorised):
        presence.admit(credential=web1.credential)
    assert Host.get_by_id(web1.id).revoked_at == NOW
    assert HostCredential.select().where(HostCredential.revoked_at.is_null()).count() == 0


def test_a_host_is_removed_only_when_its_name_is_typed(bus, web1, db1):
    with pytest.raises(Invalid):
        hosts.remove(bus, host_id=web1.id, typed_name="web", actor=ALICE, now=NOW)
    hosts.remove(bus, host_id=web1.id, typed_name="web1", actor=ALICE, now=NOW)

    assert [host.name for host in Host.select()] == ["db1"]


def test_the_install_line_keeps_the_token_out_of_every_argument_list():
    line = enrolments.install_command(base_url="https://backup.example", token="rme_secret")

    commands = [part.strip(" {}") for part in re.split(r"[;|]+", line)]
    # printf is part of every shell, so that no process has the token as its argument
    assert [command for command in commands if "rme_secret" in command] == [r"printf 'RM_TOKEN=%s\n' rme_secret"]
    assert commands[1:] == ["curl -fsSL https://backup.example/install.sh", "echo exit 1", "", "sudo sh"]


@pytest.mark.parametrize("again", [False, True])
def test_the_install_line_fails_on_a_machine_that_cannot_fetch_the_script(tmp_path, again):
    line = enrolments.install_command(base_url="https://backup.example", token="rme_secret", again=again)

    done = subprocess.run(
        ["/bin/sh", "-c", line.replace("sudo sh", "/bin/sh")], env={"PATH": str(tmp_path)}, capture_output=True,
        check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert b"curl" in done.stderr


def test_the_cast_is_enrolled_like_anybody_else(web1):
    assert cast.host_row(web1).enrolled_by == "alice"
