"""Asks an agent of a test about snapshots."""

from typing import Any

from rm.shared import ids
from rm.shared.protocol import BrowseResult, CommandBrowse
from tests.agent.conftest import Rig

ANSWER_SECONDS = 60.0


def ask(rig: Rig, query: str, **parameters: Any) -> BrowseResult:
    """The answer of the rig's agent, which is started if need be."""
    if rig.agent is None:
        rig.start()
    request = CommandBrowse(
        request_id=ids.new_ulid(), query=query, repository_id=rig.repository_id, parameters=parameters
    )
    rig.server.connected().send(request)
    answer = rig.server.wait_for("browse.result", seconds=ANSWER_SECONDS, request_id=request.request_id)
    found: BrowseResult = answer.payload
    return found


def data(rig: Rig, query: str, **parameters: Any) -> dict[str, Any]:
    """What such an answer holds; it must be a good one."""
    answer = ask(rig, query, **parameters)
    assert answer.ok, answer
    return answer.data
