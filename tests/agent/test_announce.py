"""Announcing: the fingerprint is shown, the key survives, and each answer of the server is told in words."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from flask import jsonify, request

from agent import announce
from agent.__main__ import main
from agent.announce import AnnouncementFile
from agent.config import Paths
from agent.enrol import EnrolError
from agent.errors import ConfigurationError
from agent.secrets import Secrets, SecretsFile
from rm.shared import ed25519
from tests.agent.conftest import Rig
from tests.agent.server_double import ServerDouble

UNDECIDED = (202, {"retry_after_seconds": 5})
ADMITTED = (201, {"host_id": "host-9", "credential": "rmh_new", "trust": {}, "heartbeat_seconds": 30})


def refusal(status: int, code: str, message: str = "No.", help: str = "Do this.") -> tuple[int, dict[str, Any]]:
    return status, {"error": {"code": code, "message": message, "help": help}}


class Desk:
    """The server's side of announcing, with answers that a test puts in a row."""

    def __init__(self, double: ServerDouble) -> None:
        self.double = double
        self.announced: list[dict[str, Any]] = []
        self.claims: list[tuple[str, str]] = []
        self.announce_answer: tuple[int, Any] | None = None
        self.answers: list[tuple[int, Any]] = []
        # The double has answered requests already, but not these.
        double._app._got_first_request = False
        double._app.post("/agent/announce")(self._announce)
        double._app.post("/agent/announce/<pending_id>/claim")(self._claim)

    def _announce(self) -> Any:
        body = request.get_json()
        self.announced.append(body)
        key = base64.b64decode(body["public_key"])
        status, answer = self.announce_answer or (
            202,
            {
                "pending_id": f"pending{len(self.announced)}",
                "nonce": f"nonce-{len(self.announced)}",
                "fingerprint": ed25519.fingerprint(key),
                "expires_at": "2026-11-23T13:00:00.000000Z",
            },
        )
        return jsonify(answer), status

    def _claim(self, pending_id: str) -> Any:
        self.claims.append((pending_id, request.get_json()["signature"]))
        status, answer = self.answers.pop(0)
        return jsonify(answer), status, {"Retry-After": "7"}

    @property
    def key(self) -> bytes:
        return base64.b64decode(self.announced[-1]["public_key"])


@pytest.fixture
def desk(server: ServerDouble) -> Desk:
    return Desk(server)


class Screen:
    """What the person at the host sees, and how long the agent waits."""

    def __init__(self) -> None:
        self.text = ""
        self.pauses: list[float] = []
        self.on_pause: Callable[[], None] = lambda: None

    def say(self, text: str) -> None:
        self.text += text + "\n"

    def wait(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.on_pause()


@pytest.fixture
def screen() -> Screen:
    return Screen()


def run(rig: Rig, screen: Screen, *, url: str = "", force: bool = False) -> Secrets:
    settings = {"server": url or rig.server.url}
    return announce.announce(rig.paths, settings=settings, force=force, say=screen.say, wait=screen.wait)


def test_an_approved_host_enrols_itself(bare_rig: Rig, desk: Desk, screen: Screen) -> None:
    desk.answers = [UNDECIDED, UNDECIDED, ADMITTED]

    found = run(bare_rig, screen)

    assert (found.host_id, SecretsFile(bare_rig.paths).load().credential) == ("host-9", "rmh_new")
    assert bare_rig.paths.config_file.read_text() == f'server = "{bare_rig.server.url}"\n'
    assert all(5 <= pause <= 6 for pause in screen.pauses)
    assert not AnnouncementFile(bare_rig.paths).path.exists()


def test_the_fingerprint_is_shown_in_groups_that_can_be_read_aloud(bare_rig: Rig, desk: Desk, screen: Screen) -> None:
    desk.answers = [ADMITTED]

    run(bare_rig, screen)

    digits = ed25519.fingerprint(desk.key).removeprefix("SHA256:")
    rows = [line.split() for line in screen.text.splitlines() if line.startswith("      ")]
    assert ["".join(row) for row in rows] == [digits[at : at + 16] for at in range(0, 64, 16)]
    assert all(len(group) == 4 for row in rows for group in row)


def test_the_signature_binds_the_dialled_address_the_announcement_and_the_nonce(
    bare_rig: Rig, desk: Desk, screen: Screen
) -> None:
    desk.answers = [ADMITTED]

    run(bare_rig, screen)

    pending_id, signature = desk.claims[0]
    text = f"restic-manager-announce-v1\n{bare_rig.server.url}\n{pending_id}\nnonce-1"
    Ed25519PublicKey.from_public_bytes(desk.key).verify(base64.b64decode(signature), text.encode())
    facts = {"hostname", "os", "arch", "agent_version", "agent_seq", "machine_id", "public_key"}
    assert set(desk.announced[0]) == facts


def test_ended_and_started_again_it_keeps_its_key_and_its_place(bare_rig: Rig, desk: Desk, screen: Screen) -> None:
    desk.answers = [UNDECIDED, ADMITTED]

    def interrupt() -> None:
        raise KeyboardInterrupt

    screen.on_pause = interrupt
    with pytest.raises(KeyboardInterrupt):
        run(bare_rig, screen)
    file = AnnouncementFile(bare_rig.paths)
    mode, kept = file.path.stat().st_mode & 0o777, file.load()

    run(bare_rig, Screen())

    assert mode == 0o600
    assert kept and kept.pending_id == "pending1"
    assert len(desk.announced) == 1
    assert [pending_id for pending_id, _ in desk.claims] == ["pending1", "pending1"]


def test_the_key_is_on_the_disk_before_anybody_sees_it(bare_rig: Rig, desk: Desk, screen: Screen) -> None:
    desk.announce_answer = refusal(429, "too_many")

    with pytest.raises(EnrolError):
        run(bare_rig, screen)

    kept = AnnouncementFile(bare_rig.paths).load()
    assert kept and kept.public_key == desk.key


def test_a_server_that_restarts_is_waited_for(bare_rig: Rig, desk: Desk, screen: Screen) -> None:
    desk.answers = [UNDECIDED, refusal(503, "unavailable"), refusal(429, "too_many"), UNDECIDED, ADMITTED]

    run(bare_rig, screen)

    assert screen.text.count("Trying again until it answers") == 1
    assert screen.text.count("The server answers again") == 1
    assert all(7 <= pause <= 8.4 for pause in screen.pauses[1:3])


def test_a_server_that_is_gone_for_a_while_is_waited_for(
    bare_rig: Rig, desk: Desk, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.answers = [ADMITTED]
    real = announce.Transport.request
    calls = []

    def sometimes(self: Any, method: str, path: str, **options: Any) -> Any:
        calls.append(path)
        if len(calls) in (2, 3):
            raise announce.Unreachable("refuses connections.")
        return real(self, method, path, **options)

    monkeypatch.setattr(announce.Transport, "request", sometimes)

    run(bare_rig, screen)

    assert screen.text.count("refuses connections. Trying again") == 1


def test_a_lapsed_announcement_is_made_again_with_the_same_key(bare_rig: Rig, desk: Desk, screen: Screen) -> None:
    desk.answers = [refusal(410, "expired"), refusal(404, "not_found"), ADMITTED]

    run(bare_rig, screen)

    assert len({body["public_key"] for body in desk.announced}) == 1
    assert [pending_id for pending_id, _ in desk.claims] == ["pending1", "pending2", "pending3"]
    assert "fingerprint stays the same" in screen.text


def test_a_rejected_host_gives_up_and_shows_another_fingerprint_next_time(
    bare_rig: Rig, desk: Desk, screen: Screen
) -> None:
    desk.answers = [refusal(403, "rejected"), ADMITTED]

    with pytest.raises(EnrolError, match="An administrator rejected this host"):
        run(bare_rig, screen)
    run(bare_rig, screen)

    assert desk.announced[0]["public_key"] != desk.announced[1]["public_key"]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (refusal(401, "wrong_url", "dialled A, known as B.", "Run --server B."), "known as B. Run --server B."),
        (refusal(401, "bad_signature"), "refuses this host's signature"),
        (refusal(410, "claimed"), "used already"),
        (refusal(422, "invalid"), "HTTP 422"),
        ((200, {}), "does not answer like a restic-manager server"),
    ],
)
def test_each_refusal_says_what_to_do(
    bare_rig: Rig, desk: Desk, screen: Screen, answer: tuple[int, Any], says: str
) -> None:
    desk.answers = [answer]

    with pytest.raises(EnrolError, match=says.replace(".", r"\.")):
        run(bare_rig, screen)

    assert not bare_rig.paths.secrets_file.exists()


def test_a_server_without_announcing_says_so(bare_rig: Rig, desk: Desk, screen: Screen) -> None:
    desk.announce_answer = refusal(403, "announcing_off", "Not here.", "Use a token.")

    with pytest.raises(EnrolError, match=r"lets no host announce itself\. The server says: Not here\. Use a token\."):
        run(bare_rig, screen)


def test_an_answer_with_another_fingerprint_ends_it(bare_rig: Rig, desk: Desk, screen: Screen) -> None:
    desk.announce_answer = (202, {"pending_id": "p", "nonce": "n", "fingerprint": "SHA256:00", "expires_at": ""})

    with pytest.raises(EnrolError, match="another fingerprint"):
        run(bare_rig, screen)


def test_another_server_gets_an_announcement_of_its_own(bare_rig: Rig, desk: Desk, screen: Screen) -> None:
    desk.answers = [refusal(401, "bad_signature"), ADMITTED]
    with pytest.raises(EnrolError):
        run(bare_rig, screen)

    run(bare_rig, screen, url=bare_rig.server.url.replace("127.0.0.1", "localhost"))

    assert [body["public_key"] for body in desk.announced] == [desk.announced[0]["public_key"]] * 2


def test_an_unreachable_server_fails_at_once_the_first_time(bare_rig: Rig, screen: Screen) -> None:
    with pytest.raises(EnrolError, match="refuses connections"):
        run(bare_rig, screen, url="http://127.0.0.1:9")


def test_an_enrolled_host_does_not_announce_itself_without_force(rig: Rig, desk: Desk, screen: Screen) -> None:
    desk.answers = [ADMITTED]

    with pytest.raises(ConfigurationError, match="--force"):
        run(rig, screen)
    run(rig, screen, force=True)

    assert SecretsFile(rig.paths).load().host_id == "host-9"


@pytest.mark.parametrize("damaged", [b"", b"{", b"[]", b'{"server": 1}', b"\xff"])
def test_a_damaged_announcement_is_made_anew(bare_rig: Rig, desk: Desk, screen: Screen, damaged: bytes) -> None:
    bare_rig.paths.make()
    AnnouncementFile(bare_rig.paths).path.write_bytes(damaged)
    desk.answers = [ADMITTED]

    assert run(bare_rig, screen).host_id == "host-9"


def test_a_claim_whose_credential_cannot_be_stored_can_be_repeated(
    bare_rig: Rig, desk: Desk, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.answers = [ADMITTED, ADMITTED]
    with monkeypatch.context() as patch:
        patch.setattr(SecretsFile, "save", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(ConfigurationError, match="No space left"):
            run(bare_rig, screen)

    run(bare_rig, screen)

    assert len(desk.announced) == 1


def test_the_verb_announces_and_ends_with_what_to_do_next(
    bare_rig: Rig, desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.answers = [ADMITTED]

    code = main(["--root", str(bare_rig.base), "announce", "--server", bare_rig.server.url])

    out = capsys.readouterr().out
    assert code == 0
    assert "without it: rm-agent run" in out
    assert "rmh_new" not in out


def test_ending_the_verb_says_that_it_can_go_on(
    bare_rig: Rig, desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(announce, "announce", interrupted)

    code = main(["--root", str(bare_rig.base), "announce", "--server", bare_rig.server.url])

    assert (code, "start the same command again" in capsys.readouterr().out) == (1, True)


def test_no_secret_is_kept_where_others_can_read_it(bare_rig: Rig, desk: Desk, screen: Screen) -> None:
    desk.answers = [UNDECIDED, ADMITTED]
    seen: list[tuple[Path, int]] = []

    def look() -> None:
        seen.extend((path, path.stat().st_mode & 0o077) for path in Paths.of(str(bare_rig.base)).state.rglob("*"))

    screen.on_pause = look
    run(bare_rig, screen)

    private = json.dumps([str(path) for path, mode in seen if mode])
    assert private == "[]"
