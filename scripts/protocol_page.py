"""Writes docs/protocol.md from rm/shared/protocol; a test checks that the page is current."""

import dataclasses
import inspect
import json
import sys
from pathlib import Path

from rm.shared import protocol

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "protocol.md"
RECORDED = ROOT / "tests" / "contract" / "messages"

ERROR_MEANINGS = {
    "bad_message": "Not JSON, no ULID, or a field that does not fit; the detail names it.",
    "unknown_type": "No message is called that.",
    "too_large": "The frame is over 1 MiB.",
    "unknown_job": "The server does not know this job.",
    "not_yours": "The job belongs to another host.",
    "conflict": "The report contradicts what is already settled.",
    "attempt_closed": "The update attempt is over; do not swap.",
    "protocol_too_old": "The server no longer speaks this agent's protocol version.",
    "hello_invalid": "The first frame was not a hello that can be taken.",
    "try_later": "The server cannot take it just now.",
    "internal": "The server failed on it; its log says how.",
}


def page() -> str:
    """The whole page."""
    parts = [
        _INTRODUCTION,
        "## Agent to server\n",
        *(_message(name, type_) for name, type_ in protocol.FROM_AGENT.items()),
        "## Server to agent\n",
        *(_message(name, type_) for name, type_ in protocol.FROM_SERVER.items()),
        "## Records within messages\n",
        *(
            _record(type_)
            for type_ in (protocol.LogLine, protocol.NextRun, protocol.Snapshot, protocol.RepositoryConfig)
        ),
        _codes(),
        _outcomes(),
    ]
    return "\n".join(parts)


_INTRODUCTION = f"""# The protocol between agent and server

*Generated from `rm/shared/protocol/` by `make docs`; edit that package, not this page.*

An agent opens a WebSocket to `/ws/agent` with `Authorization: Bearer <host credential>`, without compression.
Both sides send JSON text frames of at most 1 MiB:

```json
{{"type": "heartbeat", "id": "01JDC0Q8ZK3V5W7X9Y1A2B3C4D", "payload": {{"sent_at": "2026-11-23T10:15:30.250000Z"}}}}
```

- `id` is a ULID, made by the sender. `ack` and `error` name the message they answer in `payload.id`.
- The first frame is `hello`, within {protocol.HELLO_WITHIN_SECONDS} s.
- The protocol version is {protocol.PROTOCOL_VERSION}.
- A heartbeat is sent every {protocol.HEARTBEAT_SECONDS} s, or as `welcome` says.
- Reports marked *repeated* are sent again, with the same id, until an `ack` or `error` answers them. The server takes a
  repetition as the same report. The others are sent once; a newer one replaces an older one.
- Orders are idempotent by `job_id` or `attempt_id`.
- Fields are only ever added, with a default; unknown fields are ignored; unknown types get `error` with `unknown_type`.
- Characters that UTF-8 cannot carry, and NUL, are replaced by U+FFFD.
- A frame that is not JSON, or has a field that does not fit, gets an `error`;
  {protocol.BAD_MESSAGES_IN_A_ROW} in a row close the connection with 4400.
- A refused credential is HTTP 401 with the code `credential_refused` at the handshake.
"""


def _message(name: str, type_: type) -> str:
    repeated = " *Repeated until answered.*" if name in protocol.REPEATED else ""
    return f"### `{name}`\n\n{inspect.getdoc(type_)}{repeated}\n\n{_fields(type_)}\n\n{_example(name)}\n"


def _record(type_: type) -> str:
    return f"### {type_.__name__}\n\n{inspect.getdoc(type_)}\n\n{_fields(type_)}\n"


def _fields(type_: type) -> str:
    rows = ["| field | type | default | |", "|---|---|---|---|"]
    for spec in dataclasses.fields(type_):
        kind = spec.metadata["check"].describe()
        rows.append(f"| `{spec.name}` | {kind} | {_default(spec)} | {spec.metadata['about']} |")
    return "\n".join(rows)


def _default(spec: "dataclasses.Field[object]") -> str:
    if spec.default is not dataclasses.MISSING:
        return f"`{json.dumps(spec.default)}`"
    if spec.default_factory is not dataclasses.MISSING:
        return f"`{json.dumps(spec.default_factory())}`"
    return "*required*"


def _example(name: str) -> str:
    newest = max(RECORDED.glob(f"*/{name}.json"), key=lambda path: [int(part) for part in path.parent.name.split(".")])
    payload = json.loads(newest.read_text())["payload"]
    return f"```json\n{json.dumps(payload, ensure_ascii=False, indent=2)}\n```"


def _codes() -> str:
    errors = "\n".join(f"| `{code}` | {ERROR_MEANINGS[code]} |" for code in protocol.ERROR_CODES)
    closes = "\n".join(f"| {code} | {reason} |" for code, reason in protocol.CLOSE_REASONS.items())
    return (
        f"## Error codes\n\nThe list is closed.\n\n| code | means |\n|---|---|\n{errors}\n\n"
        f"## Close codes\n\n| code | means |\n|---|---|\n{closes}\n"
    )


def _outcomes() -> str:
    outcomes = ", ".join(f"`{outcome}`" for outcome in protocol.OUTCOMES)
    kinds = ", ".join(f"`{kind}`" for kind in protocol.JOB_KINDS)
    streams = ", ".join(f"`{stream}`" for stream in protocol.LOG_STREAMS)
    return (
        f"## Words\n\n- Kinds of job: {kinds}.\n- Outcomes of a job: {outcomes}.\n- Streams of a log line: {streams}.\n"
    )


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}", file=sys.stderr)


if __name__ == "__main__":
    main()
