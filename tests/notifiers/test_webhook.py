"""Webhooks: what arrives, and what the signature proves."""

import json
import subprocess
from pathlib import Path

import pytest

from rm.notifiers import webhook
from tests.notifiers.servers import HttpServer, drips, free_port

SECRET = "whsec_of-this-test"
BODY = json.dumps({"event": "raised", "title": "Ünlaut"}, ensure_ascii=False).encode()


def send(url: str, seconds: float = 30) -> webhook.Outcome:
    return webhook.send(
        url, secret=SECRET, delivery_id="01DELIVERY", event="raised", timestamp=1795000000, body=BODY, seconds=seconds
    )


def test_openssl_computes_the_same_signature_from_the_documented_scheme(server: HttpServer, tmp_path: Path) -> None:
    assert send(f"{server.url}/hook").is_ok

    [request] = server.requests
    signed = tmp_path / "signed"
    signed.write_bytes(
        request.headers["Restic-Manager-Delivery"].encode() + b"."
        + request.headers["Restic-Manager-Timestamp"].encode() + b"." + request.body
    )  # fmt: skip
    printed = subprocess.run(
        ["openssl", "dgst", "-sha256", "-hmac", SECRET, str(signed)], check=True, capture_output=True, text=True
    ).stdout
    assert request.headers["Restic-Manager-Signature"] == f"v1={printed.split()[-1]}"
    assert request.headers["Restic-Manager-Event"] == "raised"
    assert request.headers["Content-Type"] == "application/json"
    assert request.body == BODY


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_any_2xx_is_taken_for_an_arrival(server: HttpServer, status: int) -> None:
    server.says(status, body=b"")

    assert send(server.url).is_ok


@pytest.mark.parametrize("status", [400, 401, 404, 410, 429, 500, 503])
def test_every_other_answer_is_a_failure_with_its_status_and_without_its_body(server: HttpServer, status: int) -> None:
    server.says(status, body=b"internal secrets of that service")

    outcome = send(server.url)

    assert (outcome.is_ok, outcome.reason) == (False, f"it answered {status}")


def test_a_redirect_is_a_failure_and_its_target_hears_nothing(server: HttpServer, other_server: HttpServer) -> None:
    server.says(307, {"Location": f"{other_server.url}/stolen"})

    outcome = send(server.url)

    assert "redirects are not followed" in outcome.reason
    assert other_server.requests == []


def test_nobody_there_slow_and_huge_answers_end_with_a_reason(server: HttpServer) -> None:
    assert send(f"http://127.0.0.1:{free_port()}/").reason == "the connection was refused"
    server.says(200, body=b"x" * 3_000_000)
    assert send(server.url).is_ok, "what comes after the status does not matter"
    server.answer = drips(120)  # type: ignore[assignment]
    assert send(server.url, seconds=1).reason == "there was no complete answer within 1 s"
    assert "link-local" in send("http://169.254.169.254/latest").reason
