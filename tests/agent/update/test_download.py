"""Fetching over a real connection: resumed, bounded, tried again, and never left behind when the disk is full."""

import errno
import hashlib
import os
import time
from pathlib import Path
from typing import Any

import pytest
from flask import Response, jsonify, make_response

from agent.config import Config
from agent.http import Transport
from agent.update import download
from agent.update.download import Fetcher
from agent.update.ending import Failed
from rm.shared.release import Artifact
from tests.agent.update.machine import UpdateServer
from tests.signing import signed_release
from tests.stopwatch import Stopwatch

DATA = bytes(range(256)) * 4096
WHOLE = Artifact("any", "any", "rm-agent", len(DATA), hashlib.sha256(DATA).hexdigest())


@pytest.fixture
def server(releases: UpdateServer) -> UpdateServer:
    releases.offer(signed_release(artifact=DATA))
    return releases


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "RETRY_SECONDS", (0.01, 0.02, 0.03))


def fetcher(server: UpdateServer, **changed: Any) -> Fetcher:
    waits: list[float] = []
    known: dict[str, Any] = {
        "transport": Transport(Config(server=server.url)),
        "credential": lambda: server.credential,
        "wait": waits.append,
        "show": lambda percent, text: None,
    }
    made = Fetcher(**(known | changed))
    made.waits = waits  # type: ignore[attr-defined]
    return made


def fetch(server: UpdateServer, part: Path, **changed: Any) -> str:
    """Empty when all of it came."""
    try:
        fetcher(server, **changed).artifact(WHOLE, part, seconds=45)
    except Failed as error:
        return error.reason
    return ""


def ranges(server: UpdateServer) -> list[str]:
    return [sent for path, sent in server.asked if path.startswith("/agent/artifact/")]


def test_all_of_it_comes(server: UpdateServer, tmp_path: Path) -> None:
    assert fetch(server, tmp_path / "part") == ""
    assert (tmp_path / "part").read_bytes() == DATA


def test_what_came_before_is_not_fetched_again(server: UpdateServer, tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(DATA[:500_000])

    assert fetch(server, tmp_path / "part") == ""

    assert ranges(server) == ["bytes=500000-"]
    assert (tmp_path / "part").read_bytes() == DATA


def test_a_part_with_a_hole_is_fetched_anew(server: UpdateServer, tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(bytes(500_000))

    assert fetch(server, tmp_path / "part") == ""

    assert ranges(server) == ["bytes=500000-", ""]
    assert (tmp_path / "part").read_bytes() == DATA


def test_a_part_that_is_too_long_is_fetched_anew(server: UpdateServer, tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(DATA + b"more")

    assert fetch(server, tmp_path / "part") == ""
    assert ranges(server) == [""]


def test_a_connection_that_breaks_is_taken_up_where_it_was(server: UpdateServer, tmp_path: Path) -> None:
    broken: list[int] = []

    def cut(at: int) -> None:
        if at >= 512 * 1024 and not broken:
            broken.append(at)
            raise ConnectionError("gone")

    server.chunk_delay = cut

    assert fetch(server, tmp_path / "part") == ""
    assert ranges(server)[0] == ""
    assert int(ranges(server)[1].removeprefix("bytes=").rstrip("-")) > 0
    assert (tmp_path / "part").read_bytes() == DATA


def test_a_server_without_ranges_sends_all_of_it_again(server: UpdateServer, tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(DATA[:1000])
    server.answers = [Response(DATA)]

    assert fetch(server, tmp_path / "part") == ""
    assert (tmp_path / "part").read_bytes() == DATA


def test_more_than_was_said_is_cut_off_and_not_kept(server: UpdateServer, tmp_path: Path) -> None:
    server.answers = [Response(DATA + bytes(10_000_000))]

    assert fetch(server, tmp_path / "part") == "wrong_size"
    assert not (tmp_path / "part").exists()


@pytest.mark.parametrize("status", [302, 403, 404, 429, 500, 502, 503])
def test_what_somebody_else_answers_is_tried_again(server: UpdateServer, tmp_path: Path, status: int) -> None:
    server.answers = [Response("no", status), Response("no", status)]

    assert fetch(server, tmp_path / "part") == ""


def test_after_four_tries_it_is_given_up(server: UpdateServer, tmp_path: Path) -> None:
    server.answers = [Response("no", 502) for _ in range(10)]

    assert fetch(server, tmp_path / "part") == "unreachable"
    assert len(server.answers) == 6


def test_the_servers_own_no_is_final(server: UpdateServer, tmp_path: Path) -> None:
    with server._app.app_context():
        answer = make_response(jsonify(error={"code": "not_found", "message": "", "help": ""}), 404)
    server.answers = [answer, answer]

    assert fetch(server, tmp_path / "part") == "not_served"
    assert len(server.answers) == 1


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_no_part(
    server: UpdateServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def full(handle: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(download.os, "fsync", full)

    with pytest.raises(OSError, match=os.strerror(code)):
        fetcher(server).artifact(WHOLE, tmp_path / "part", seconds=45)

    assert not (tmp_path / "part").exists()


def test_the_speed_is_kept(server: UpdateServer, tmp_path: Path) -> None:
    began, stopwatch = time.monotonic(), Stopwatch()

    assert fetch(server, tmp_path / "part", kib_per_second=2048, wait=time.sleep) == ""

    assert time.monotonic() - began > 0.4
    assert stopwatch.seconds < 5


def test_a_download_that_takes_too_long_is_ended(server: UpdateServer, tmp_path: Path) -> None:
    with pytest.raises(Failed) as found:
        fetcher(server, kib_per_second=1024, wait=time.sleep).artifact(WHOLE, tmp_path / "part", seconds=0.2)

    assert found.value.reason == "download_timeout"


def test_all_papers_come_for_the_ordered_manifest(server: UpdateServer) -> None:
    release = server.releases[0]
    server.offer(signed_release(seq=3, version="0.3.0"))

    papers = fetcher(server).papers(release.manifest_sha256)

    assert papers.manifest == release.manifest
    assert papers.manifest_signature.decode() == release.manifest_signature
    assert papers.keyset == release.keyset
