"""How many questions may wait for hosts at once."""

import pytest

from rm.agent_link import registry
from rm.agent_link.registry import AgentRegistry
from rm.errors import HostOffline, Unavailable
from rm.shared.ids import new_ulid
from rm.shared.protocol import CommandBrowse


class ClosingSession:
    """A session that takes no question."""

    host_id = "web1"

    def ask(self, question):
        return False


def question():
    return CommandBrowse(request_id=new_ulid(), query="ls")


def test_questions_are_refused_while_too_many_wait(monkeypatch):
    monkeypatch.setattr(registry, "MAX_QUESTIONS", 0)
    agents = AgentRegistry()
    agents._sessions["web1"] = ClosingSession()

    with pytest.raises(Unavailable):
        agents.ask("web1", question(), timeout_seconds=1)


def test_a_question_that_cannot_be_sent_leaves_its_place_to_others():
    agents = AgentRegistry()
    agents._sessions["web1"] = ClosingSession()

    for _ in range(registry.MAX_QUESTIONS + 5):
        with pytest.raises(HostOffline):
            agents.ask("web1", question(), timeout_seconds=1)
    assert agents._questions == {}
