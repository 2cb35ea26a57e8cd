"""Idempotency-Key: an order that is sent twice is carried out once."""

import secrets
import threading
from datetime import timedelta

import pytest

from rm.errors import Conflict, Unavailable
from rm.notifiers.outcome import OK
from rm.services import channels, idempotency, retention_changes, sending, template_applying
from rm.services import jobs as job_service
from rm.store import database
from rm.store.models import IdempotencyKey, Job
from tests import cast
from tests.api.conftest import bearer

KEY = {"Idempotency-Key": "order-1"}


@pytest.fixture
def path(bus, vault, web1):
    cast.give_repository(bus, vault, web1)
    return f"/api/v1/hosts/{web1.id}/jobs"


def test_the_same_order_gets_the_same_answer_and_is_carried_out_once(program, path):
    client = program("operator")

    first, second = (client.post(path, json={"kind": "init"}, headers=KEY) for _ in range(2))

    assert (first.status_code, first.json) == (second.status_code, second.json) == (202, first.json)
    assert (first.headers.get("Idempotent-Replayed"), second.headers["Idempotent-Replayed"]) == (None, "true")
    assert Job.select().count() == 1


def test_another_order_under_the_same_key_is_refused(program, path):
    client = program("operator")
    client.post(path, json={"kind": "init"}, headers=KEY)

    answer = client.post(path, json={"kind": "snapshots"}, headers=KEY)

    assert (answer.status_code, answer.json["error"]["code"]) == (422, "key_reused")
    assert Job.select().count() == 1


def test_each_caller_has_keys_of_their_own(program, bob, path):
    answers = [one.post(path, json={"kind": "init"}, headers=KEY) for one in (program("operator"), bob)]

    assert [answer.status_code for answer in answers] == [202, 202]
    assert ["Idempotent-Replayed" in answer.headers for answer in answers] == [False, False]


def test_a_refused_order_leaves_its_key_free(program, path, parts, web1):
    client = program("operator")
    refused = client.post(path, json={"kind": "backup"}, headers=KEY)

    again = client.post(path, json={"kind": "init"}, headers=KEY)

    assert (refused.status_code, again.status_code) == (422, 202)


def test_a_key_is_kept_for_a_day(program, path, clock):
    client = program("operator")
    client.post(path, json={"kind": "init"}, headers=KEY)

    clock.now += timedelta(hours=24, seconds=1)
    answer = client.post(path, json={"kind": "snapshots"}, headers=KEY)

    assert answer.status_code == 202


def test_what_was_kept_long_enough_is_forgotten(program, path, clock):
    program("operator").post(path, json={"kind": "init"}, headers=KEY)

    assert idempotency.forget_old(now=clock.now) == 0
    assert idempotency.forget_old(now=clock.now + timedelta(hours=25)) == 1


@pytest.mark.parametrize("key", ["", "x" * 129, "ä", "two words"])
def test_a_key_that_cannot_be_one_is_refused(program, path, key):
    answer = program("operator").post(path, json={"kind": "init"}, headers={"Idempotency-Key": key})

    assert (answer.status_code, Job.select().count()) == (422, 0)


def test_the_number_of_keys_is_bounded(program, path, monkeypatch):
    monkeypatch.setattr(idempotency, "MAX_KEPT", 2)
    client = program("operator")

    answers = [client.post(path, json={"kind": "init"}, headers={"Idempotency-Key": f"k{n}"}) for n in range(3)]

    assert [answer.status_code for answer in answers] == [202, 202, 429]


def test_secrets_in_a_kept_answer_are_sealed(program):
    client = program("operator")

    first, second = (client.post("/api/v1/enrolment-tokens", json={}, headers=KEY) for _ in range(2))

    assert first.json["token"] == second.json["token"]
    kept = IdempotencyKey.get()
    assert first.json["token"] not in kept.body
    assert len(kept.body) > 100


def test_an_answer_that_is_too_long_is_not_kept_and_the_order_not_doubled(program, path, monkeypatch):
    monkeypatch.setattr(idempotency, "MAX_STORED", 10)
    client = program("operator")

    first, second = (client.post(path, json={"kind": "init"}, headers=KEY) for _ in range(2))

    assert (first.status_code, second.status_code, second.json["error"]["code"]) == (202, 409, "answer_not_kept")
    assert Job.select().count() == 1


def test_many_long_answers_do_not_fill_the_disk(vault, clock, monkeypatch):
    monkeypatch.setattr(idempotency, "LONG_KEPT", 3)
    text = secrets.token_hex(20_000)

    for number in range(6):
        idempotency.carry_out(
            vault, lambda: idempotency.Answer(200, text), owner="token:x", key=str(number), request_hash="h",
            waits=False, now=clock.now,
        )  # fmt: skip

    assert [bool(row.body) for row in IdempotencyKey.select().order_by(IdempotencyKey.key)] == [True] * 3 + [False] * 3


def test_order_and_answer_are_committed_together_or_not_at_all(app, parts, program, path, monkeypatch):
    """What a crash between the two would leave: with the answer not written, the order is not there either."""
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.testing = False
    monkeypatch.setattr(idempotency, "_keep", lambda *args: 1 / 0)
    client = program("operator")
    failed = client.post(path, json={"kind": "init"}, headers=KEY)
    monkeypatch.undo()

    answer = client.post(path, json={"kind": "init"}, headers=KEY)

    assert (failed.status_code, answer.status_code) == (500, 202)
    assert Job.select().count() == 1


def test_while_an_order_is_carried_out_the_same_one_is_told_to_wait(app, parts, path, monkeypatch):
    plain, _ = _token(parts)
    seen = []

    def slow(*args, **values):
        # Somebody sends it again while the first is still under way.
        seen.append(bearer(app, plain).post(path, json={"kind": "init"}, headers=KEY))
        raise Conflict("enough")

    monkeypatch.setattr(job_service, "order", slow)
    thread_free = bearer(app, plain).post(path, json={"kind": "init"}, headers=KEY)

    assert thread_free.status_code == 409
    assert (seen[0].status_code, seen[0].json["error"]["code"]) == (409, "in_progress")
    assert int(seen[0].headers["Retry-After"]) > 0


def test_an_order_that_waits_and_was_cut_off_is_never_repeated_by_itself(vault, clock):
    """A server that dies while a host is asked leaves a claimed key: nobody knows whether it took effect."""
    values = {"owner": "token:x", "key": "k", "request_hash": "h", "waits": True, "now": clock.now}

    def dies():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        idempotency.carry_out(vault, dies, **values)
    with pytest.raises(Conflict) as again:
        idempotency.carry_out(vault, dies, **values)
    later = values | {"now": clock.now + timedelta(hours=25)}
    answer = idempotency.carry_out(vault, lambda: idempotency.Answer(200, "{}"), **later)

    assert again.value.code == "outcome_unknown"
    assert answer.status == 200


def test_an_order_that_waits_is_carried_out_once_too_and_may_be_repeated_when_it_was_refused(vault, clock):
    values = {"owner": "token:x", "key": "k", "request_hash": "h", "waits": True, "now": clock.now}
    calls = []

    def refused():
        raise Conflict("offline")

    def works():
        calls.append(threading.get_ident())
        return idempotency.Answer(200, '{"ok": true}')

    with pytest.raises(Conflict):
        idempotency.carry_out(vault, refused, **values)
    first, second = (idempotency.carry_out(vault, works, **values) for _ in range(2))

    assert (first.is_replay, second.is_replay, first.text, len(calls)) == (False, True, second.text, 1)


def test_an_order_that_waits_and_failed_is_not_called_a_server_that_stopped(vault, clock):
    values = {"owner": "token:x", "key": "k", "request_hash": "h", "waits": True, "now": clock.now}

    def fails():
        raise Unavailable("The database is busy.")

    with pytest.raises(Unavailable):
        idempotency.carry_out(vault, fails, **values)
    with pytest.raises(Conflict) as again:
        idempotency.carry_out(vault, fails, **values)

    assert again.value.code == "outcome_unknown"
    assert "stopped" not in again.value.message


def test_an_order_that_fails_clean_leaves_its_key_free_when_the_server_failed(vault, clock):
    values = {"owner": "token:x", "key": "k", "request_hash": "h", "waits": True, "now": clock.now}

    def fails():
        raise Unavailable("Too many questions wait for hosts just now.")

    with pytest.raises(Unavailable):
        idempotency.carry_out(vault, fails, fails_clean=True, **values)
    answer = idempotency.carry_out(vault, lambda: idempotency.Answer(200, "{}"), fails_clean=True, **values)

    assert (answer.status, answer.is_replay) == (200, False)


def test_a_claim_that_a_full_disk_keeps_from_being_deleted_is_void_all_the_same(vault, clock, monkeypatch):
    values = {"owner": "token:x", "key": "k", "request_hash": "h", "waits": True, "now": clock.now}

    def disk_full(*_):
        raise Unavailable("The server's disk is full.", code="disk_full")

    with monkeypatch.context() as patched:
        patched.setattr(idempotency.idempotency_keys, "forget", disk_full)
        with pytest.raises(Unavailable):
            idempotency.carry_out(vault, disk_full, fails_clean=True, **values)
    left = IdempotencyKey.select().count()
    answer = idempotency.carry_out(vault, lambda: idempotency.Answer(200, "{}"), fails_clean=True, **values)

    assert (left, answer.status, answer.is_replay) == (1, 200, False)


def test_a_channel_that_could_not_be_kept_is_made_with_the_same_key_once_there_is_room(program, monkeypatch):
    client, body = program("admin"), {"name": "Day", "kind": "webhook", "url": "https://hooks.example.net/x"}

    def disk_full(*_, **__):
        raise Unavailable("The server's disk is full.", code="disk_full")

    with monkeypatch.context() as patched:
        patched.setattr(channels, "create", disk_full)
        failed = client.post("/api/v1/channels", json=body, headers=KEY)
    again = client.post("/api/v1/channels", json=body, headers=KEY)

    assert (failed.status_code, again.status_code) == (503, 201)


def test_a_test_message_that_may_have_gone_out_is_not_sent_twice_under_one_key(bus, vault, program, monkeypatch):
    client, body = program("admin"), {"name": "Day", "kind": "webhook", "url": "https://hooks.example.net/x"}
    path = f"/api/v1/channels/{client.post('/api/v1/channels', json=body).json['id']}/test"
    sent = []
    monkeypatch.setattr(sending, "send", lambda *_, **__: sent.append(1) or OK)

    def disk_full(*_, **__):
        raise Unavailable("The server's disk is full.", code="disk_full")

    with monkeypatch.context() as patched:
        patched.setattr(channels, "keep_test", disk_full)
        failed = client.post(path, headers=KEY)
    again = client.post(path, headers=KEY)

    assert (failed.status_code, again.status_code, again.json["error"]["code"]) == (503, 409, "outcome_unknown")
    assert sent == [1]


@pytest.mark.parametrize(
    ("where", "name", "path"),
    [
        (template_applying, "preview", "/api/v1/templates/x/preview"),
        (retention_changes, "preview", "/api/v1/hosts/{host}/source-groups/{group}/retention-preview"),
    ],
)
def test_a_preview_under_a_key_keeps_nobody_from_writing(bus, vault, web1, program, monkeypatch, where, name, path):
    """It may look at a thousand hosts, and changes nothing."""
    group = cast.give_repository(bus, vault, web1)
    seen = []

    def look(**_):
        seen.append(database.db.in_transaction())
        raise Conflict("enough")

    monkeypatch.setattr(where, name, look)
    program("operator").post(path.format(host=web1.id, group=group), json={"host_ids": [web1.id]}, headers=KEY)

    assert seen == [False]


def _token(parts):
    from rm.services import api_tokens

    plain = api_tokens.create(
        parts.bus, name="x", role="operator", tags=(), days=1, actor=cast.ALICE, now=parts.clock()
    )[1]  # fmt: skip
    return plain, None
