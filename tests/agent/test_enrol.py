"""Enrolment: the credential arrives, secrets stay whole, and each failure says what to do."""

import contextlib
import io
import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import enrol
from agent.__main__ import main
from agent.config import Paths
from agent.secrets import SecretsFile
from agent.update.trust import FloorFile, TrustFile
from rm.shared import ids
from rm.shared.protocol import JobFinished
from tests.agent.conftest import ROOT, Rig
from tests.agent.server_double import ConnectProxy, ServerDouble
from tests.signing import OTHER_KEY, ROOTS

TOKEN = "one-time-token-7"


def enroll(base: Path, url: str, *more: str, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "RM_TOKEN": token}
    return subprocess.run(
        [sys.executable, "-m", "agent", "--root", str(base), "enroll", "--server", url, *more],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )


def test_an_enrolment_writes_config_and_secrets_and_never_shows_the_token(bare_rig: Rig) -> None:
    done = enroll(bare_rig.base, bare_rig.server.url + "/")

    assert (done.returncode, done.stderr) == (0, "")
    found = SecretsFile(bare_rig.paths).load()
    assert (found.credential, found.host_id) == (bare_rig.server.credential, "host-1")
    assert oct(bare_rig.paths.secrets_file.stat().st_mode & 0o777) == "0o600"
    assert bare_rig.paths.config_file.read_text() == f'server = "{bare_rig.server.url}"\n'
    sent = bare_rig.server.enrolments[0]
    assert set(sent) == {"token", "hostname", "os", "arch", "agent_version", "agent_seq", "machine_id"}
    assert sent["token"] == TOKEN
    assert TOKEN not in done.stdout + bare_rig.paths.config_file.read_text() + bare_rig.paths.secrets_file.read_text()


def test_what_the_owner_has_set_stays_when_the_host_is_enrolled(bare_rig: Rig) -> None:
    bare_rig.paths.make()
    bare_rig.paths.config_file.write_text(
        '# mine\nhooks = "off"\nserver = "http://old.example"\n\n[limits]\noutbox_mib = 8\n'
    )

    enroll(bare_rig.base, bare_rig.server.url)

    assert bare_rig.paths.config_file.read_text() == (
        f'# mine\nhooks = "off"\nserver = "{bare_rig.server.url}"\n\n[limits]\noutbox_mib = 8\n'
    )


def test_an_enrolled_host_is_not_enrolled_again_without_force(rig: Rig) -> None:
    before = rig.paths.secrets_file.read_bytes()

    refused = enroll(rig.base, rig.server.url)
    untouched = rig.paths.secrets_file.read_bytes()
    forced = enroll(rig.base, rig.server.url, "--force")

    assert (refused.returncode, untouched) == (78, before)
    assert "--force" in refused.stderr
    assert forced.returncode == 0
    assert SecretsFile(rig.paths).load().repositories == {}


@pytest.mark.parametrize("damaged", [b"", b"{", b"[]", b'{"format": 2}', b'{"format": 1}', b"\xff\xfe", b"{" * 50_000])
@pytest.mark.parametrize("verb", ["run", "enroll"])
def test_a_damaged_secrets_file_is_refused_and_left_as_it_is(rig: Rig, damaged: bytes, verb: str) -> None:
    rig.paths.secrets_file.write_bytes(damaged)
    more = ["--server", rig.server.url, "--force"] if verb == "enroll" else []

    code, text = in_process(rig.base, verb, *more)

    assert (code, rig.paths.secrets_file.read_bytes()) == (78, damaged)
    assert "is damaged and was left untouched" in text


def in_process(base: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and error output of the command line."""
    os.environ["RM_TOKEN"] = TOKEN
    try:
        with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(io.StringIO()):
            return main(["--root", str(base), *arguments]), said.getvalue()
    finally:
        del os.environ["RM_TOKEN"]


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (
            401,
            {"error": {"code": "token_unknown", "message": "Unknown token.", "help": ""}},
            "does not know this token",
        ),
        (410, {"error": {"code": "token_expired", "message": "Expired.", "help": ""}}, "used already or has expired"),
        (429, {"error": {"code": "too_many", "message": "Slow down.", "help": ""}}, "Try again in 17 s"),
        (422, {"error": {"code": "invalid", "message": "hostname", "help": ""}}, "HTTP 422, invalid"),
        (404, "<html>no such page</html>", "does not answer like a restic-manager server"),
        (401, "<html>proxy login</html>", "does not answer like a restic-manager server"),
        (201, {"hello": "world"}, "no credential came back"),
        (302, "moved", "redirects to"),
    ],
)
def test_each_refusal_says_what_to_do_and_changes_nothing(bare_rig: Rig, status: int, body: object, says: str) -> None:
    bare_rig.server.enrol_answer = (status, body)

    code, text = in_process(bare_rig.base, "enroll", "--server", bare_rig.server.url)

    assert code == 1
    assert says in text
    assert TOKEN not in text
    assert not bare_rig.paths.secrets_file.exists()
    assert not bare_rig.paths.config_file.exists()


@pytest.mark.parametrize(
    ("url", "code", "says"),
    [
        ("http://127.0.0.1:1", 1, "refuses connections"),
        ("http://no-such-host.invalid", 1, "cannot be resolved"),
        ("ftp://example.org", 78, "must look like"),
        ("https://user:pw@example.org", 78, "no user, password or query"),
        ("http://[::1", 78, "not a URL"),
        ("http://example.org:99999", 78, "not a URL"),
    ],
)
def test_a_wrong_url_is_told_in_one_sentence(bare_rig: Rig, url: str, code: int, says: str) -> None:
    found, text = in_process(bare_rig.base, "enroll", "--server", url)

    assert (found, says in text) == (code, True), text
    assert "Traceback" not in text


def test_a_missing_token_is_told(bare_rig: Rig) -> None:
    done = enroll(bare_rig.base, bare_rig.server.url, token="")

    assert (done.returncode, "RM_TOKEN" in done.stderr) == (78, True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("server = ", "not valid TOML"),
        ("", "server is missing"),
        ('server = "https://a.example"\nrestore_in_place = "yes"', "restore_in_place must be a boolean"),
        ('server = "https://a.example"\nhooks = "remote"', "hooks must be"),
        ('server = "https://a.example"\nca_file = "/nowhere/ca.pem"', "does not exist"),
        ('server = "https://a.example"\nproxy = "https://p:1"', "proxy: must look like"),
        ('server = "https://a.example"\n[limits]\noutbox_mib = -1', "limits.outbox_mib"),
    ],
)
def test_a_wrong_configuration_names_the_setting(rig: Rig, text: str, says: str) -> None:
    rig.paths.config_file.write_text(text)

    code, told = in_process(rig.base, "run")

    assert (code, says in told) == (78, True), told


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private CA and a certificate of 127.0.0.1 that it has signed."""
    place = tmp_path_factory.mktemp("ca")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=place, check=True, capture_output=True)

    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Test CA", "-days", "2")
    openssl("req", *new_key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=server")
    (place / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out",
            "server.pem", "-days", "2", "-extfile", "names")  # fmt: skip
    return place


@pytest.fixture
def tls_server(authority: Path) -> Iterator[ServerDouble]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "server.pem", authority / "server.key")
    double = ServerDouble(context=context)
    yield double
    double.close()


@pytest.fixture
def proxy() -> Iterator[ConnectProxy]:
    found = ConnectProxy()
    yield found
    found.close()


def test_a_certificate_of_an_unknown_ca_is_refused_and_told(bare_rig: Rig, tls_server: ServerDouble) -> None:
    code, text = in_process(bare_rig.base, "enroll", "--server", tls_server.url)

    assert code == 1
    assert "is not trusted" in text
    assert "--ca-file" in text


def test_http_and_websocket_use_the_same_private_ca_and_proxy(
    tmp_path: Path, tls_server: ServerDouble, proxy: ConnectProxy, authority: Path
) -> None:
    base = tmp_path / "root"
    base.mkdir()
    rig = Rig(base=base, server=tls_server, paths=Paths.of(str(base)), location=str(tmp_path / "r"))
    settings = ["--ca-file", str(authority / "ca.pem"), "--proxy", f"http://me:s%40cret@127.0.0.1:{proxy.port}"]

    done = enroll(base, tls_server.url, *settings)
    agent = rig.start()
    tls_server.connected()
    agent.outbox.add(JobFinished(job_id=ids.new_ulid(), outcome="succeeded"))
    rig.settled()
    rig.close()

    assert done.returncode == 0, done.stderr
    assert len(proxy.requests) == 2
    for request in proxy.requests:
        assert request.startswith(f"CONNECT 127.0.0.1:{tls_server.port} HTTP/1".encode())
        assert b"roxy-authorization: basic " in request.lower() or b"Proxy-Authorization: Basic bWU6c0BjcmV0" in request


def test_a_plain_server_is_reached_through_the_proxy_too(bare_rig: Rig, proxy: ConnectProxy) -> None:
    done = enroll(bare_rig.base, bare_rig.server.url, "--proxy", f"http://127.0.0.1:{proxy.port}")
    bare_rig.start()

    bare_rig.server.connected()

    assert (done.returncode, len(proxy.requests)) == (0, 2)


def test_no_proxy_excepts_the_server(bare_rig: Rig, proxy: ConnectProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    enroll(bare_rig.base, bare_rig.server.url, "--proxy", f"http://127.0.0.1:{proxy.port}", "--no-proxy", "127.0.0.0/8")
    bare_rig.start()

    bare_rig.server.connected()

    assert proxy.requests == []


def test_http_on_a_tls_port_is_explained(bare_rig: Rig) -> None:
    code, text = in_process(bare_rig.base, "enroll", "--server", bare_rig.server.url.replace("http://", "https://"))

    assert (code, "does not speak TLS as expected" in text) == (1, True), text


def test_secrets_are_replaced_as_a_whole(rig: Rig) -> None:
    rig.paths.secrets_file.chmod(0o644)

    rig.start()
    rig.server.connected()

    assert oct(rig.paths.secrets_file.stat().st_mode & 0o777) == "0o600"
    assert json.loads(rig.paths.secrets_file.read_bytes())["format"] == 1
    assert [p.name for p in rig.paths.state.glob(".secrets*")] == []


def test_enrolment_pins_the_root_keys_that_the_server_names(bare_rig: Rig) -> None:
    named = {"root_keys": ROOTS, "keyset_version": 4}
    answer = {"host_id": "h", "credential": "c", "trust": named, "heartbeat_seconds": 30}
    bare_rig.server.enrol_answer = (201, answer)

    enrol.enrol(bare_rig.paths, settings={"server": bare_rig.server.url}, token="t", force=False)

    found = TrustFile(bare_rig.paths.update).load()
    assert (found.root_keys, found.keyset_version) == (ROOTS, 4)


def test_enrolling_again_by_force_trusts_the_new_servers_keys_and_keeps_the_floor(bare_rig: Rig) -> None:
    for keys in (ROOTS, [OTHER_KEY.public.text]):
        answer = {"host_id": "h", "credential": "c", "trust": {"root_keys": keys, "keyset_version": 1}}
        bare_rig.server.enrol_answer = (201, answer)
        enrol.enrol(bare_rig.paths, settings={"server": bare_rig.server.url}, token="t", force=True)
        FloorFile(bare_rig.paths.update).begin(seq=7, sha256="a" * 64, version="0.7.0")

    assert TrustFile(bare_rig.paths.update).load().root_keys == [OTHER_KEY.public.text]
    floor = FloorFile(bare_rig.paths.update).load()
    assert floor is not None and floor.seq == 7
