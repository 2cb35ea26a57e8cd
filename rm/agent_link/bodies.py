"""What the agents' HTTP requests carry, checked field by field, and what a host that is let in is told."""

import re
from collections.abc import Mapping
from typing import Any

from flask import request

from rm.errors import Invalid
from rm.services.enrolments import Admission
from rm.shared import protocol
from rm.shared.fields import FieldError, Text, Whole
from rm.store import releases

MAX_BODY_BYTES = 64 * 1024
APPLICANT: Mapping[str, Text | Whole] = {
    "hostname": Text(253),
    "os": Text(32),
    "arch": Text(32),
    "agent_version": Text(64),
    "agent_seq": Whole(0, 2**31),
    "machine_id": Text(128),
}


def checked(checks: Mapping[str, Text | Whole], *, help: str) -> dict[str, Any]:
    """These fields of the request's JSON object; raises Invalid that names each one that does not fit."""
    if request.content_length is None or request.content_length > MAX_BODY_BYTES:
        raise Invalid({"body": "Send a JSON object of at most 64 KiB."})
    try:
        body = request.get_json(force=True, silent=True)
    except RecursionError:
        body = None
    if not isinstance(body, dict):
        raise Invalid({"body": "Send a JSON object."}, help)
    found, wrong = {}, {}
    for name, check in checks.items():
        value = body.get(name, 0 if name == "agent_seq" else "")
        try:
            found[name] = check.check(value)
        except FieldError as error:
            wrong[name] = str(error)
    if "hostname" in found and (not re.search(r"\S", found["hostname"]) or not found["hostname"].isprintable()):
        wrong["hostname"] = "must hold 1 to 253 printable characters"
    if wrong:
        raise Invalid(wrong, "; ".join(f"{name} {problem}" for name, problem in wrong.items()))
    return found


def admission(let_in: Admission) -> dict[str, Any]:
    """The answer that carries the credential, this once."""
    return {
        "host_id": let_in.host_id,
        "credential": let_in.credential,
        "trust": releases.trust(),
        "heartbeat_seconds": protocol.HEARTBEAT_SECONDS,
    }
