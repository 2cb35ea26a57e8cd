"""Whole text frames, held against wsproto at the other end."""

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, Ping, TextMessage

from rm.agent_link.text_frames import Taken, frame_of, texts_in

LIMIT = 1024 * 1024
LENGTHS = (0, 1, 3, 125, 126, 1000, 65_535)


def said(event):
    """What a client sends for an event."""
    return Connection(ConnectionType.CLIENT).send(event)


def texts():
    return [("x" * length) for length in LENGTHS] + ["Zürich, 東京 and 🦀"]


@pytest.mark.parametrize("text", texts(), ids=lambda text: f"{len(text)} characters")
def test_a_whole_text_of_a_client_is_taken_out(text):
    frame = said(TextMessage(text))

    assert texts_in(frame, limit=LIMIT) == Taken([text], len(frame), waits=False)


def test_texts_are_taken_one_after_the_other_until_one_is_not_whole():
    one, two, three = (said(TextMessage(text)) for text in ("one", "x" * 300, "three"))

    for end in range(1, len(three)):
        found = texts_in(one + two + three[:end], limit=LIMIT)
        assert found == Taken(["one", "x" * 300], len(one + two), waits=True)


@pytest.mark.parametrize("text", ["", "short", "x" * 300])
def test_every_begin_of_a_whole_text_waits_for_the_rest(text):
    frame = said(TextMessage(text))

    assert all(texts_in(frame[:end], limit=LIMIT) == Taken([], 0, waits=True) for end in range(1, len(frame)))


@pytest.mark.parametrize("text", [*texts(), "x" * 65_536], ids=lambda text: f"{len(text)} characters")
def test_a_text_that_is_sent_is_read_by_a_client(text):
    client = Connection(ConnectionType.CLIENT)

    client.receive_data(frame_of(text))

    assert "".join(event.data for event in client.events()) == text


def masked(head, body=b"", key=b"\x00\x00\x00\x00"):
    return head + key + body


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(said(TextMessage("first", message_finished=False)), id="the first part of a message"),
        pytest.param(said(TextMessage("x" * 65_536)), id="over 64 KiB"),
        pytest.param(said(BytesMessage(b"bytes")), id="bytes"),
        pytest.param(said(Ping(b"there?")), id="a ping"),
        pytest.param(b"\x81\x00", id="not masked and empty"),
        pytest.param(b"\x81\x04text\x00\x00\x00\x00", id="not masked"),
        pytest.param(masked(b"\xc1\x82", b"{}"), id="compressed"),
        pytest.param(masked(b"\x81\xfe\x00\x02", b"{}"), id="a length that is not the shortest"),
        pytest.param(masked(b"\x81\x81", b"\xff"), id="no UTF-8"),
    ],
)
def test_all_else_is_left_to_wsproto_behind_the_texts_before_it(data):
    assert texts_in(data, limit=LIMIT) == Taken([], 0, waits=False)

    before = said(TextMessage("before"))
    assert texts_in(before + data, limit=LIMIT) == Taken(["before"], len(before), waits=False)


def test_a_text_over_the_limit_is_left_to_who_refuses_it():
    frame = said(TextMessage("x" * 200))

    assert texts_in(frame, limit=200).texts == ["x" * 200]
    assert texts_in(frame, limit=199) == Taken([], 0, waits=False)
