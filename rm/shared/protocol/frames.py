"""Frames: how a message becomes JSON text, and how it is taken out and checked."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from rm.shared import ids
from rm.shared.fields import FieldError, build
from rm.shared.protocol.messages import FROM_AGENT, FROM_SERVER

MAX_FRAME_BYTES = 1024 * 1024
_NAMES = {type_: name for name, type_ in (FROM_AGENT | FROM_SERVER).items()}


class ProtocolError(Exception):
    """A frame that cannot be taken; `code` is one of ERROR_CODES, `message_id` what it answers, if known."""

    def __init__(self, code: str, detail: str, message_id: str | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.message_id = message_id


@dataclass(frozen=True)
class Message:
    """One decoded frame: its type name, its ULID and its typed payload."""

    type: str
    id: str
    payload: Any


def encode(payload: Any, message_id: str | None = None) -> str:
    """The frame that carries a payload; raises ProtocolError too_large beyond 1 MiB."""
    frame = _TO_JSON.encode({"type": _NAMES[type(payload)], "id": message_id or ids.new_ulid(), "payload": payload})
    if not frame.isascii():
        frame = frame.encode("utf-8", "replace").decode("utf-8")
    if _is_too_large(frame):
        raise ProtocolError("too_large", f"the frame is over {MAX_FRAME_BYTES} bytes", message_id)
    return frame


def decode(frame: str, known: dict[str, type]) -> Message:
    """The message in a frame, checked field by field; raises ProtocolError and never anything else."""
    if _is_too_large(frame):
        raise ProtocolError("too_large", f"the frame is over {MAX_FRAME_BYTES} bytes")
    try:
        raw = _FROM_JSON.decode(frame)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("bad_message", f"not JSON: {error}"[:300]) from error
    if not isinstance(raw, dict):
        raise ProtocolError("bad_message", "a frame is an object with type, id and payload")
    message_id = raw.get("id")
    if not ids.is_ulid(message_id):
        raise ProtocolError("bad_message", "id must be a ULID")
    name = raw.get("type")
    if not isinstance(name, str) or name not in known:
        raise ProtocolError("unknown_type", f"no message is called {str(name)[:60]!r}", message_id)
    try:
        payload = build(known[name], raw.get("payload", {}))
    except (FieldError, RecursionError) as error:
        raise ProtocolError("bad_message", f"{name}: {error}"[:500], message_id) from error
    return Message(name, str(message_id), payload)


def _is_too_large(frame: str) -> bool:
    # a character is at most four bytes, so short frames need not be encoded to be counted
    return len(frame) * 4 > MAX_FRAME_BYTES and len(frame.encode("utf-8", "surrogatepass")) > MAX_FRAME_BYTES


def _fields_of(record: Any) -> dict[str, Any]:
    if not dataclasses.is_dataclass(record):
        raise TypeError(f"a {type(record).__name__} cannot be sent")
    return vars(record)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


# made once: json.dumps and json.loads make a new one for each call that asks for anything special
_TO_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_fields_of)
_FROM_JSON = json.JSONDecoder(parse_constant=_refuse_constant)
