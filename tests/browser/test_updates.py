"""Updates as a person sees them: pages that move by themselves while an agent goes through the phases."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import websocket
from playwright.sync_api import Page, expect

from rm.shared import protocol
from rm.shared.protocol import CommandUpdate, Hello, UpdateProgress, UpdateResult
from rm.store.models import HostCredential, SourceGroup
from tests import update_rows
from tests.access import scene
from tests.access.scene import Scene
from tests.browser.conftest import Server, Watched, free_port, sign_in

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

CREDENTIAL = "rmh_spoken_by_hand"
PHASES = (
    ("preflight", "Checking the host"), ("draining", "Waiting for a job"), ("downloading", "Downloading, 41 %"),
    ("verifying", "Verifying"), ("selftest", "Testing itself"),
)  # fmt: skip


@dataclass
class HandAgent:
    """An agent's end of the socket."""

    url: str
    socket: Any = None

    def say_hello(self, version: tuple[str, int], sha256: str) -> None:
        self.socket = websocket.create_connection(
            self.url.replace("http", "ws") + "/ws/agent", header=[f"Authorization: Bearer {CREDENTIAL}"], timeout=40,
            suppress_origin=True,
        )  # fmt: skip
        self._send(
            Hello(
                protocol_version=1, agent_version=version[0], agent_seq=version[1], running_sha256=sha256,
                guard_version="2", restic_version="0.18.0", hostname="web-1", os="linux", arch="amd64",
            )
        )  # fmt: skip

    def await_order(self) -> str:
        """The id of the attempt that the server orders."""
        while True:
            message = protocol.decode(self.socket.recv(), protocol.FROM_SERVER)
            if isinstance(message.payload, CommandUpdate):
                return message.payload.attempt_id

    def enter(self, attempt_id: str, phase: str) -> None:
        percent = 41.0 if phase == "downloading" else None
        self._send(UpdateProgress(attempt_id=attempt_id, phase=phase, percent=percent, detail=f"detail of {phase}"))

    def pass_the_fence(self, attempt_id: str) -> None:
        """Ask to swap, and go away once the server agreed."""
        asked = self._send(UpdateProgress(attempt_id=attempt_id, phase="swapping"))
        while True:
            message = protocol.decode(self.socket.recv(), protocol.FROM_SERVER)
            if message.type in ("ack", "error") and message.payload.id == asked:
                assert message.type == "ack", message
                self.socket.close()
                return

    def commit(self, attempt_id: str) -> None:
        self._send(UpdateResult(attempt_id=attempt_id, outcome="committed", phase="committed"))

    def _send(self, payload: Any) -> str:
        text = protocol.encode(payload)
        self.socket.send(text)
        return protocol.decode(text, protocol.FROM_AGENT).id


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[tuple[Server, Scene]]:
    """A server with one host that is behind."""

    def fill(now: datetime) -> Scene:
        found = Scene()
        host_id = scene.add_host("ok", now=now, repository=scene.add_repository("attic", now=now), name="web-1")
        update_rows.add_release(now)
        update_rows.run(host_id, update_rows.OLD, now)
        SourceGroup.delete().execute()
        HostCredential.create(
            credential_hash=hashlib.sha256(CREDENTIAL.encode()).hexdigest(), host=host_id, created_at=now
        )
        found.hosts["web-1"] = host_id
        return found

    found = scene.prepare(tmp_path / "data", now=datetime.now(timezone.utc), fill=fill)
    server = Server(f"http://127.0.0.1:{free_port()}", tmp_path / "data", tmp_path / "server.log")
    server.start()
    yield server, found
    server.stop()


@pytest.fixture
def watched(stage: tuple[Server, Scene], chromium: Any) -> Iterator[Watched]:
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    found = Watched(context.new_page(), stage[0].url)
    sign_in(found)
    yield found
    found.check()
    context.close()


@pytest.fixture
def agent(stage: tuple[Server, Scene]) -> Iterator[HandAgent]:
    found = HandAgent(stage[0].url)
    found.say_hello(update_rows.OLD, "cd" * 32)
    yield found
    found.socket.close()


def remember(page: Page) -> Callable[[], bool]:
    """Whether the page is still the one that it is now: nobody loaded it anew."""
    page.evaluate("window.isTheSame = true")
    return lambda: page.evaluate("window.isTheSame === true")


def go_through(agent: HandAgent, attempt_id: str, *, seen: Callable[[str], None] = lambda word: None) -> None:
    for phase, word in PHASES:
        agent.enter(attempt_id, phase)
        seen(word)
    agent.pass_the_fence(attempt_id)
    seen("Swapping")
    agent.say_hello(update_rows.NEW, update_rows.ARTIFACT)
    seen("Soaking")
    agent.commit(attempt_id)


def test_the_card_goes_through_every_phase_by_itself(
    stage: tuple[Server, Scene], watched: Watched, agent: HandAgent
) -> None:
    page = watched.go(f"/hosts/{stage[1].hosts['web-1']}")
    expect(page.locator("#host-head")).to_contain_text("Connected")
    page.locator("#update-card").get_by_role("link", name="Update agent").click()
    page.locator("#update-agent").get_by_role("button", name="Update agent").click()
    attempt_id = agent.await_order()
    card = page.locator("#update-card")
    # the order may be with the host before the page that shows it is here
    card.locator(".stepper").wait_for()
    is_same = remember(page)

    go_through(agent, attempt_id, seen=lambda word: expect(card).to_contain_text(word))

    expect(card).to_contain_text("Updated")
    expect(card).to_contain_text("web-1 runs 1.5.0 and has kept it.")
    expect(card.get_by_role("link", name="Roll back to 1.4.0")).to_be_visible()
    expect(card.locator(".stepper__step--done")).to_have_count(9)
    assert is_same()


def test_a_fleet_update_is_planned_started_and_watched_to_its_end(
    stage: tuple[Server, Scene], watched: Watched, agent: HandAgent
) -> None:
    page = watched.go("/settings/fleet-update")
    page.get_by_label("Soak").fill("0")
    page.get_by_role("button", name="Plan again").click()
    page.get_by_role("button", name="Take this plan").click()
    page.get_by_role("button", name="Start with web-1").click()
    attempt_id = agent.await_order()
    page.locator("#fleet-update-progress").wait_for()
    is_same = remember(page)
    row = page.locator(f"#update-host-{stage[1].hosts['web-1']}")
    expect(page.locator("#lamps .lamp--news")).to_contain_text("0/1")

    go_through(agent, attempt_id)

    expect(page.locator("h1")).to_contain_text("The only host runs agent 1.5.0.", timeout=40_000)
    expect(row).to_contain_text("Updated")
    expect(page.locator("#fleet-update-progress")).to_contain_text("All hosts, done")
    expect(page.locator("#lamps .lamp--news")).to_have_count(0)
    assert is_same()
