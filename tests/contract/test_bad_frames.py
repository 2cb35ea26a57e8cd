"""Whatever arrives, decoding gives a message or a ProtocolError with a code from the closed list."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rm.shared import ids, protocol

KNOWN = protocol.FROM_AGENT | protocol.FROM_SERVER
AN_ID = "01JDC0Q8ZK3V5W7X9Y1A2B3C4D"
AN_INSTANT = "2026-11-23T10:15:30Z"


def frame(type_: Any, payload: Any, message_id: Any = AN_ID) -> str:
    return json.dumps({"type": type_, "id": message_id, "payload": payload})


def refusal(text: str) -> protocol.ProtocolError:
    with pytest.raises(protocol.ProtocolError) as refused:
        protocol.decode(text, KNOWN)
    return refused.value


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("hello", id="a word"),
        pytest.param("{", id="a part of an object"),
        pytest.param("[]", id="a list"),
        pytest.param("null", id="null"),
        pytest.param('"hello"', id="a string"),
        pytest.param("1e999", id="an endless number"),
        pytest.param("9" * 5000, id="a number of 5,000 digits"),
        pytest.param("[" * 100_000, id="brackets without end"),
        pytest.param('{"a":' * 50_000, id="objects without end"),
        pytest.param("\ufeff{}", id="a byte order mark"),
        pytest.param("\x00", id="NUL"),
        pytest.param("\ud800", id="half a character"),
        pytest.param('{"type":"ack","id":"' + AN_ID + '","payload":{"id":NaN}}', id="NaN"),
        pytest.param('{"type":"ack","id":"' + AN_ID + '","payload":{"id":-Infinity}}', id="minus infinity"),
    ],
)
def test_what_is_not_a_message_is_refused(text: str) -> None:
    assert refusal(text).code == "bad_message"


@pytest.mark.parametrize("message_id", [None, 7, "", "abc", AN_ID.lower(), AN_ID + "0", ["x"], {"a": 1}, "8" * 26])
def test_a_message_without_a_ulid_is_refused(message_id: Any) -> None:
    refused = refusal(frame("ack", {"id": "x"}, message_id))

    assert refused.code == "bad_message"
    assert refused.message_id is None


@pytest.mark.parametrize("name", ["", "no.such", "ACK", "hello ", None, 7, ["hello"], {"hello": 1}, "x" * 10_000])
def test_an_unknown_type_is_refused_and_names_the_message(name: Any) -> None:
    refused = refusal(frame(name, {}))

    assert refused.code == "unknown_type"
    assert refused.message_id == AN_ID
    assert len(refused.detail) < 200


@pytest.mark.parametrize("payload", [None, 7, "text", [], True])
def test_a_payload_that_is_no_object_is_refused(payload: Any) -> None:
    assert refusal(frame("heartbeat", payload)).code == "bad_message"


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("heartbeat", {}),
        ("heartbeat", {"sent_at": "yesterday"}),
        ("heartbeat", {"sent_at": "2026-11-23T10:15:30"}),
        ("heartbeat", {"sent_at": AN_INSTANT, "outbox_reports": -1}),
        ("heartbeat", {"sent_at": AN_INSTANT, "outbox_reports": 1.5}),
        ("heartbeat", {"sent_at": AN_INSTANT, "outbox_reports": True}),
        ("heartbeat", {"sent_at": AN_INSTANT, "outbox_reports": 2**70}),
        ("heartbeat", {"sent_at": AN_INSTANT, "next_runs": [{"schedule_id": "s"}]}),
        ("heartbeat", {"sent_at": AN_INSTANT, "next_runs": {}}),
        ("job.started", {"job_id": "../../etc/passwd"}),
        ("job.started", {"job_id": AN_ID, "kind": "format"}),
        ("job.progress", {"job_id": AN_ID, "percent": 101}),
        ("job.progress", {"job_id": AN_ID, "percent": "42"}),
        ("job.progress", {"job_id": AN_ID, "current_files": ["x"] * 9}),
        ("job.progress", {"job_id": AN_ID, "current_files": ["x" * 4097]}),
        ("job.log", {"job_id": AN_ID, "lines": [{"n": 0, "at": AN_INSTANT, "stream": "out", "text": ""}]}),
        ("job.log", {"job_id": AN_ID, "lines": [{"n": 1, "at": AN_INSTANT, "stream": "in", "text": ""}]}),
        ("job.finished", {"job_id": AN_ID, "outcome": "great"}),
        ("job.finished", {"job_id": AN_ID, "outcome": "failed", "summary": {"many": list(range(2000))}}),
        ("hello", {"agent_version": "0.1.0"}),
        ("hello", {"protocol_version": 1, "agent_version": "x" * 65}),
        ("hello", {"protocol_version": 1, "agent_version": "1", "agent_seq": 2**31 + 1}),
        ("hello", {"protocol_version": 1, "agent_version": "1", "pinned": "yes"}),
    ],
)
def test_a_field_that_does_not_fit_is_refused_by_name(name: str, payload: dict[str, Any]) -> None:
    refused = refusal(frame(name, payload))

    assert refused.code == "bad_message"
    assert refused.message_id == AN_ID
    assert refused.detail.startswith(f"{name}: ")
    assert len(refused.detail) <= 500


def test_a_refusal_names_the_field_within_the_field() -> None:
    refused = refusal(frame("heartbeat", {"sent_at": AN_INSTANT, "next_runs": [{"schedule_id": "s", "due_at": 3}]}))

    assert "next_runs" in refused.detail
    assert "due_at" in refused.detail


def test_free_objects_may_not_be_deep() -> None:
    deep: dict[str, Any] = {}
    for _ in range(40):
        deep = {"in": deep}

    refused = refusal(frame("job.finished", {"job_id": AN_ID, "outcome": "failed", "summary": deep}))

    assert refused.code == "bad_message"
    assert "deeper" in refused.detail


def test_a_frame_over_one_mebibyte_is_refused_before_it_is_parsed() -> None:
    assert refusal(frame("ack", {"id": "x" * protocol.MAX_FRAME_BYTES})).code == "too_large"


def test_the_limit_counts_bytes_not_characters() -> None:
    text = json.dumps({"type": "ack", "id": AN_ID, "filler": "€" * 400_000}, ensure_ascii=False)

    assert len(text) < protocol.MAX_FRAME_BYTES
    assert refusal(text).code == "too_large"


def test_what_is_too_large_is_not_sent_either() -> None:
    with pytest.raises(protocol.ProtocolError) as refused:
        protocol.encode(protocol.JobFinished(job_id=AN_ID, outcome="failed", summary={"text": "x" * 2_000_000}))

    assert refused.value.code == "too_large"


@pytest.mark.parametrize(("sent", "read"), [("a\\ud800b", "a�b"), ("a\\u0000b", "a�b"), ("\\ud83d\\ude00", "😀")])
def test_what_utf8_cannot_carry_becomes_readable(sent: str, read: str) -> None:
    text = f'{{"type":"job.progress","id":"{AN_ID}","payload":{{"job_id":"{AN_ID}","current_files":["{sent}"]}}}}'

    assert protocol.decode(text, KNOWN).payload.current_files == [read]


def test_half_characters_are_also_replaced_in_free_objects() -> None:
    text = frame("job.finished", {"job_id": AN_ID, "outcome": "failed", "summary": {"\udc80": "\udc80"}})

    assert protocol.decode(text, KNOWN).payload.summary == {"�": "�"}


def test_an_endless_number_in_a_free_object_is_refused() -> None:
    text = frame("job.finished", {"job_id": AN_ID, "outcome": "failed", "summary": {"n": [777]}}).replace(
        "777", "1e999"
    )

    assert refusal(text).code == "bad_message"


def test_a_text_stays_within_its_limit_when_it_is_made_readable() -> None:
    text = frame("job.progress", {"job_id": AN_ID, "current_files": ["\udc80" * 4096]})

    assert len(protocol.decode(text, KNOWN).payload.current_files[0]) <= 4096


def test_half_characters_can_be_sent() -> None:
    sent = protocol.encode(protocol.JobFinished(job_id=AN_ID, outcome="failed", message="a\udc80b"))

    assert sent.encode("utf-8")


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_are_not_json_are_never_sent(number: float) -> None:
    with pytest.raises((protocol.ProtocolError, ValueError)):
        protocol.encode(protocol.JobProgress(job_id=AN_ID, percent=number))


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=40),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=20), inner, max_size=5),
    max_leaves=20,
)


def takes_or_refuses(text: str) -> None:
    """Decode, and encode again what was taken; anything but a ProtocolError with a listed code is a failure."""
    try:
        message = protocol.decode(text, KNOWN)
    except protocol.ProtocolError as refused:
        assert refused.code in protocol.ERROR_CODES
        refused.detail.encode("utf-8", "surrogatepass")
    else:
        assert ids.is_ulid(message.id)
        protocol.encode(message.payload, message.id).encode("utf-8")


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(st.characters(), max_size=300))
def test_any_text_is_taken_or_refused(text: str) -> None:
    takes_or_refuses(text)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(ANY_JSON)
def test_any_json_is_taken_or_refused(value: Any) -> None:
    takes_or_refuses(json.dumps(value))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(KNOWN)), ANY_JSON)
def test_any_payload_is_taken_or_refused(name: str, payload: Any) -> None:
    takes_or_refuses(frame(name, payload))


@settings(max_examples=600, deadline=None, derandomize=True)
@given(st.data())
def test_a_message_with_any_values_in_its_fields_is_taken_or_refused(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(KNOWN)))
    fields = st.sampled_from(sorted(KNOWN[name].__dataclass_fields__))
    likely = st.sampled_from([AN_ID, AN_INSTANT, "failed", "backup", 0, 1, 1.0, True, None, [], {}, [[]], [{}]])
    payload = data.draw(st.dictionaries(fields, likely | ANY_JSON))

    takes_or_refuses(frame(name, payload))
