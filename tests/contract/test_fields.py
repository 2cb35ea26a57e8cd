"""What the checked fields make of values, the quick ways included."""

from datetime import datetime, timedelta, timezone

import pytest

from rm.shared import instants, protocol
from rm.shared.fields import FieldError, Instant, readable
from rm.shared.ids import new_ulid
from rm.shared.protocol import ProtocolError


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("2026-11-23T12:00:00.000000Z", "2026-11-23T12:00:00.000000Z"),
        ("2026-11-23T12:00:00Z", "2026-11-23T12:00:00.000000Z"),
        ("2026-11-23T14:00:00.500000+02:00", "2026-11-23T12:00:00.500000Z"),
        ("2026-11-23 12:00:00.000000Z", "2026-11-23T12:00:00.000000Z"),
    ],
)
def test_an_instant_is_kept_in_the_one_form_that_sorts(sent: str, kept: str) -> None:
    assert Instant().check(sent) == kept


@pytest.mark.parametrize(
    "sent",
    [
        "2026-13-23T12:00:00.000000Z",
        "2026-11-31T12:00:00.000000Z",
        "2026-11-23T25:00:00.000000Z",
        "2026-11-23T12:00:00.000000",
        "٢٠٢٦-11-23T12:00:00.000000Z",
        "2026-11-23T12:00:00.000000Z\n",
        "",
    ],
)
def test_an_instant_that_does_not_exist_is_refused_even_in_the_usual_form(sent: str) -> None:
    with pytest.raises(FieldError):
        Instant().check(sent)


def test_an_instant_of_the_first_years_keeps_its_width() -> None:
    early = datetime(7, 1, 1, 2, tzinfo=timezone(timedelta(hours=1)))

    assert instants.to_text(early) == "0007-01-01T01:00:00.000000Z"


@pytest.mark.parametrize(
    ("text", "kept"), [("plain", "plain"), ("a\x00b", "a\ufffdb"), ("ü\ud800", "ü\ufffd"), ("ümläut", "ümläut")]
)
def test_what_utf8_cannot_carry_is_replaced(text: str, kept: str) -> None:
    assert readable(text) == kept


@pytest.mark.parametrize("filler", ["x", "ü", "\U0001f600", "\ud800"])
def test_the_size_of_a_frame_is_counted_in_bytes(filler: str) -> None:
    width = len(filler.encode("utf-8", "surrogatepass"))
    frame = '{"type":"x","id":"' + new_ulid() + '","payload":"' + filler * (protocol.MAX_FRAME_BYTES // width) + '"}'

    with pytest.raises(ProtocolError) as caught:
        protocol.decode(frame, protocol.FROM_AGENT)

    assert caught.value.code == "too_large"


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_what_is_not_json_is_refused(constant: str) -> None:
    frame = '{"type":"heartbeat","id":"' + new_ulid() + '","payload":{"outbox_reports":' + constant + "}}"

    with pytest.raises(ProtocolError, match="not JSON"):
        protocol.decode(frame, protocol.FROM_AGENT)
