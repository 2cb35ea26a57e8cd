"""Every message has a recorded example of every release, and today's code still reads them all."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from rm.shared import protocol

RECORDED = Path(__file__).parent / "messages"
EXAMPLES = sorted(RECORDED.glob("*/*.json"))
KNOWN = protocol.FROM_AGENT | protocol.FROM_SERVER

each_example = pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: f"{path.parent.name}-{path.stem}")
each_type = pytest.mark.parametrize("name", sorted(KNOWN))


def latest_example(name: str) -> dict[str, Any]:
    newest = max((path for path in EXAMPLES if path.stem == name), key=lambda path: release_of(path))
    loaded: dict[str, Any] = json.loads(newest.read_text())
    return loaded


def release_of(path: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in path.parent.name.split("."))


@each_type
def test_every_message_has_a_recorded_example(name: str) -> None:
    assert [path for path in EXAMPLES if path.stem == name], f"record tests/contract/messages/<release>/{name}.json"


@each_example
def test_a_recorded_example_is_still_understood(example: Path) -> None:
    message = protocol.decode(example.read_text(), KNOWN)

    assert message.type == example.stem
    assert isinstance(message.payload, KNOWN[message.type])


@each_example
def test_a_recorded_example_keeps_every_value(example: Path) -> None:
    recorded = json.loads(example.read_text())

    understood = dataclasses.asdict(protocol.decode(example.read_text(), KNOWN).payload)

    assert {name: understood.get(name) for name in recorded["payload"]} == recorded["payload"]


@each_type
def test_the_newest_example_shows_every_field(name: str) -> None:
    shown = set(latest_example(name)["payload"])

    assert shown == {field.name for field in dataclasses.fields(KNOWN[name])}


@each_example
def test_what_is_sent_reads_the_same_at_the_other_end(example: Path) -> None:
    message = protocol.decode(example.read_text(), KNOWN)

    again = protocol.decode(protocol.encode(message.payload, message.id), KNOWN)

    assert again == message


@each_type
def test_fields_with_a_default_may_be_left_out(name: str) -> None:
    example = latest_example(name)
    required = {
        field.name
        for field in dataclasses.fields(KNOWN[name])
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    example["payload"] = {key: value for key, value in example["payload"].items() if key in required}

    assert protocol.decode(json.dumps(example), KNOWN).type == name


@each_type
def test_fields_from_the_future_are_ignored(name: str) -> None:
    example = latest_example(name)
    expected = protocol.decode(json.dumps(example), KNOWN)
    example["from_the_future"] = {"deep": [1, 2, 3]}
    example["payload"]["from_the_future"] = "ignored"

    assert protocol.decode(json.dumps(example), KNOWN) == expected


def test_each_side_understands_only_what_the_other_may_say() -> None:
    order = json.dumps(latest_example("command.run"))

    with pytest.raises(protocol.ProtocolError) as refused:
        protocol.decode(order, protocol.FROM_AGENT)

    assert refused.value.code == "unknown_type"


def test_no_message_goes_both_ways() -> None:
    assert not set(protocol.FROM_AGENT) & set(protocol.FROM_SERVER)


def test_only_reports_of_the_agent_are_repeated() -> None:
    assert set(protocol.FROM_AGENT) >= protocol.REPEATED
