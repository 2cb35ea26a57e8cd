"""What hosts download: the agent of the current release, and the signed texts that say what it is."""

import hashlib

import pytest

from rm.agent_link import downloads
from rm.domain.limits import DOWNLOAD_PER_ADDRESS
from rm.services import enrolments, hosts, pending_hosts, releases
from tests.cast import ALICE, NOW
from tests.signing import ROOT_KEY, signed_release

RELEASE = signed_release()
LATER = signed_release(seq=3, version="0.3.0", artifact=b"the agent after that one")


@pytest.fixture
def token(bus):
    return enrolments.mint_token(bus, actor=ALICE, now=NOW)[1]


@pytest.fixture
def artifact(tmp_path, monkeypatch):
    """The agent that came with the server."""
    file = tmp_path / "rm-agent"
    file.write_bytes(b"#!/usr/bin/env python3\nzip")
    monkeypatch.setattr(downloads, "BUNDLED", (tmp_path / "nothing", file))
    return file


@pytest.fixture
def bring(bus, settings, tmp_path):
    """bring(release) imports and promotes it."""

    def bring(release, *, is_promoted=True):
        directory = release.write(tmp_path / "release")
        found = releases.import_release(bus, directory=directory, data_dir=settings.data_dir, actor=ALICE, now=NOW)
        if is_promoted:
            releases.promote(bus, release_id=found.release.id, actor=ALICE, now=NOW)
        return found.release

    return bring


@pytest.fixture
def get(client, web1):
    """get(path) as a host; headers by keyword."""
    return lambda path, **headers: client.get(
        path, headers=bearer(web1.credential) | {name.replace("_", "-"): value for name, value in headers.items()}
    )


def bearer(secret):
    return {"Authorization": f"Bearer {secret}"}


def test_the_agent_is_handed_out_for_a_token_and_for_a_credential(client, token, web1, artifact):
    digest = hashlib.sha256(artifact.read_bytes()).hexdigest()

    for secret in (token, web1.credential):
        answer = client.get("/agent/binary?os=linux&arch=amd64", headers=bearer(secret))
        assert (answer.status_code, answer.data) == (200, artifact.read_bytes())
        assert answer.headers["ETag"] == f'"{digest}"'


def test_a_download_goes_on_where_it_stopped(client, web1, artifact):
    answer = client.get("/agent/binary", headers=bearer(web1.credential) | {"Range": "bytes=5-"})

    assert (answer.status_code, answer.data) == (206, artifact.read_bytes()[5:])


@pytest.mark.parametrize("secret", ["", "invented"])
def test_strangers_get_the_agent_slowly_while_hosts_may_announce_themselves(client, app, artifact, secret):
    answers = [client.get("/agent/binary", headers=bearer(secret)) for _ in range(DOWNLOAD_PER_ADDRESS.count + 1)]

    assert {answer.status_code for answer in answers[:-1]} == {200}
    assert (answers[-1].status_code, answers[-1].json["error"]["code"]) == (429, "too_many")
    assert int(answers[-1].headers["Retry-After"]) > 0


def test_known_hosts_are_not_slowed_down_by_strangers_behind_the_same_address(client, web1, artifact):
    for _ in range(DOWNLOAD_PER_ADDRESS.count + 1):
        client.get("/agent/binary")

    assert client.get("/agent/binary", headers=bearer(web1.credential)).status_code == 200


@pytest.mark.parametrize("secret", ["", "invented"])
def test_strangers_get_no_agent_while_announcing_is_off(client, bus, artifact, secret):
    pending_hosts.set_announcing(bus, is_enabled=False, actor=ALICE, now=NOW)

    assert client.get("/agent/binary", headers=bearer(secret)).status_code == 401


def test_a_revoked_host_gets_no_agent_while_announcing_is_off(client, bus, web1, artifact):
    pending_hosts.set_announcing(bus, is_enabled=False, actor=ALICE, now=NOW)
    hosts.revoke_credential(bus, host_id=web1.id, actor=ALICE, now=NOW)

    assert client.get("/agent/binary", headers=bearer(web1.credential)).status_code == 401


def test_a_server_without_an_agent_says_so(client, web1, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "BUNDLED", (tmp_path / "nothing",))

    answer = client.get("/agent/binary", headers=bearer(web1.credential))

    assert (answer.status_code, answer.json["error"]["code"]) == (404, "no_artifact")


def test_another_sha256_than_ours_is_not_found(client, web1, artifact):
    assert client.get(f"/agent/binary?sha256={'0' * 64}", headers=bearer(web1.credential)).status_code == 404


def test_the_agent_in_the_servers_image_is_handed_out_until_a_release_is_promoted(get, bring, artifact):
    bring(RELEASE, is_promoted=False)

    before = get("/agent/binary?os=linux&arch=amd64").data
    bring(RELEASE)
    after = get("/agent/binary?os=linux&arch=amd64").data

    assert (before, after) == (artifact.read_bytes(), RELEASE.artifact)


def test_nothing_is_handed_out_in_place_of_a_current_release_that_was_withdrawn(get, bring, artifact):
    bring(RELEASE)
    bring(signed_release(seq=3, version="0.3.0", artifact=b"fixed", yanked=[2]), is_promoted=False)

    for path in ("/agent/binary?os=linux&arch=amd64", "/agent/release", "/agent/release.minisig"):
        assert (get(path).status_code, get(path).json["error"]["code"]) == (404, "no_release"), path


def test_the_signed_texts_are_handed_out_byte_for_byte(get, bring):
    bring(RELEASE)

    texts = [get(f"/agent/{name}").data for name in ("release", "release.minisig", "keyset", "keyset.minisig")]

    assert texts == [
        RELEASE.manifest, RELEASE.manifest_signature.encode(), RELEASE.keyset, RELEASE.keyset_signature.encode(),
    ]  # fmt: skip
    assert get("/agent/release").headers["ETag"] == f'"{RELEASE.manifest_sha256}"'


@pytest.mark.parametrize("path", ["/agent/release", "/agent/release.minisig", "/agent/keyset", "/agent/keyset.minisig"])
def test_a_server_without_a_release_says_so(get, path):
    answer = get(path)

    assert (answer.status_code, answer.json["error"]["code"]) == (404, "no_release")
    assert "release import" in answer.json["error"]["help"]


def test_an_imported_release_that_nobody_promoted_is_no_release_yet(get, bring):
    bring(RELEASE, is_promoted=False)

    assert get("/agent/release").json["error"]["code"] == "no_release"
    assert get("/agent/keyset").data == RELEASE.keyset


def test_the_release_of_an_order_stays_fetchable_when_another_becomes_current(get, bring):
    bring(RELEASE)
    bring(LATER)

    for suffix, wanted in (("", RELEASE.manifest), (".minisig", RELEASE.manifest_signature.encode())):
        assert get(f"/agent/release{suffix}?sha256={RELEASE.manifest_sha256}").data == wanted
    assert get("/agent/release").data == LATER.manifest
    assert get(f"/agent/artifact/{RELEASE.artifact_sha256}").data == RELEASE.artifact


@pytest.mark.parametrize("asked", ["0" * 64, "", "../../etc/passwd"])
def test_a_release_that_is_not_here_is_not_found(get, bring, asked):
    bring(RELEASE)

    answer = get(f"/agent/release?sha256={asked}")

    assert (answer.status_code, answer.json["error"]["code"]) == (404, "no_release")


def test_an_artifact_may_be_kept_for_good_and_is_private_while_announcing_is_off(get, bring, bus):
    bring(RELEASE)

    public = get(f"/agent/artifact/{RELEASE.artifact_sha256}").headers
    pending_hosts.set_announcing(bus, is_enabled=False, actor=ALICE, now=NOW)
    private = get(f"/agent/artifact/{RELEASE.artifact_sha256}").headers

    assert public["Cache-Control"] == "public, max-age=31536000, immutable"
    assert private["Cache-Control"] == "private, max-age=31536000, immutable"
    assert public["ETag"] == f'"{RELEASE.artifact_sha256}"'
    assert public["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize("path", [f"/agent/artifact/{RELEASE.artifact_sha256}", "/agent/binary?os=linux&arch=amd64"])
def test_an_artifact_whose_file_was_damaged_on_the_server_is_refused_until_it_is_imported_again(
    get, bring, settings, path
):
    bring(RELEASE)
    file = settings.data_dir / "releases" / RELEASE.artifact_sha256
    file.chmod(0o600)
    file.write_bytes(RELEASE.artifact[:-1])
    cut_short = get(path)
    file.unlink()
    gone = get(path)
    bring(RELEASE, is_promoted=False)

    size = len(RELEASE.artifact)
    assert (cut_short.status_code, gone.status_code) == (404, 404)
    assert f"has {size - 1} bytes where its manifest says {size} on the server" in cut_short.json["error"]["message"]
    assert "is missing on the server" in gone.json["error"]["message"]
    assert all("rm release import" in answer.json["error"]["help"] for answer in (cut_short, gone))
    assert get(path).data == RELEASE.artifact


def test_a_part_of_an_artifact_is_handed_out_and_a_part_beyond_its_end_is_refused(get, bring):
    bring(RELEASE)
    path, size = f"/agent/artifact/{RELEASE.artifact_sha256}", len(RELEASE.artifact)

    rest, middle, beyond = (get(path, Range=f"bytes={part}") for part in ("5-", "2-3", f"{size}-"))

    assert (rest.status_code, rest.data) == (206, RELEASE.artifact[5:])
    assert (middle.data, middle.headers["Content-Range"]) == (RELEASE.artifact[2:4], f"bytes 2-3/{size}")
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{size}")
    assert beyond.json["error"]["code"] == "bad_range"
    assert "immutable" not in beyond.headers["Cache-Control"]


def test_a_download_begins_anew_when_the_file_is_another_by_now(get, bring):
    bring(RELEASE)
    path = "/agent/binary?os=linux&arch=amd64"

    same = get(path, Range="bytes=5-", If_Range=f'"{RELEASE.artifact_sha256}"')
    other = get(path, Range="bytes=5-", If_Range='"another"')

    assert (same.status_code, same.data) == (206, RELEASE.artifact[5:])
    assert (other.status_code, other.data) == (200, RELEASE.artifact)


def test_who_has_the_file_is_told_so_and_head_sends_no_body(client, web1, get, bring):
    bring(RELEASE)
    path = f"/agent/artifact/{RELEASE.artifact_sha256}"

    unchanged = get(path, If_None_Match=f'"{RELEASE.artifact_sha256}"')
    head = client.head(path, headers=bearer(web1.credential))

    assert (unchanged.status_code, unchanged.data) == (304, b"")
    assert (head.status_code, head.data, head.content_length) == (200, b"", len(RELEASE.artifact))


@pytest.mark.parametrize(
    "name", ["0" * 64, "..%2f..%2fsecret.key", "../secret.key", "%2e%2e/restic-manager.db", "A" * 64, "f" * 63]
)
def test_only_the_sha256_of_an_artifact_leads_to_a_file(get, bring, name):
    bring(RELEASE)

    assert get(f"/agent/artifact/{name}").status_code == 404


def test_a_file_that_is_missing_on_the_server_says_what_to_do(get, bring, settings):
    bring(RELEASE)
    (settings.data_dir / "releases" / RELEASE.artifact_sha256).unlink()

    answer = get(f"/agent/artifact/{RELEASE.artifact_sha256}")

    assert (answer.status_code, answer.json["error"]["code"]) == (404, "no_artifact")
    assert "release import" in answer.json["error"]["help"]


def test_a_platform_without_an_agent_is_told_which_ones_have_one(get, bring):
    facts = RELEASE.facts["artifacts"][0] | {"os": "linux", "arch": "arm64"}
    bring(signed_release(artifacts=[facts]))

    answer = get("/agent/binary?os=linux&arch=amd64")

    assert (answer.status_code, answer.json["error"]["code"]) == (404, "no_artifact")
    assert "only for linux/arm64" in answer.json["error"]["message"]


def test_every_download_is_refused_to_strangers_while_announcing_is_off(client, bring, bus):
    bring(RELEASE)
    pending_hosts.set_announcing(bus, is_enabled=False, actor=ALICE, now=NOW)
    names = ("release", "release.minisig", "keyset", "keyset.minisig", "binary", f"artifact/{RELEASE.artifact_sha256}")

    answers = {name: client.get(f"/agent/{name}").status_code for name in names}

    assert answers == dict.fromkeys(names, 401)


def test_strangers_share_one_limit_over_all_downloads(client, bring):
    bring(RELEASE)
    names = ["release", "release.minisig", "keyset", "keyset.minisig"] * 6

    answers = [client.get(f"/agent/{name}").status_code for name in names]

    assert answers == [200] * DOWNLOAD_PER_ADDRESS.count + [429] * (len(names) - DOWNLOAD_PER_ADDRESS.count)


def test_downloads_do_not_use_a_token_up(client, bring, token):
    bring(RELEASE)
    client.get("/agent/binary?os=linux&arch=amd64", headers=bearer(token))
    client.get("/agent/release", headers=bearer(token))
    applicant = {"hostname": "web9", "os": "linux", "arch": "amd64", "agent_version": "0.1.0", "machine_id": "m"}

    answer = client.post("/agent/enroll", json=applicant | {"token": token})

    assert answer.status_code == 201


def test_a_host_that_enrols_is_told_whom_to_trust(client, bring, token):
    bring(RELEASE, is_promoted=False)
    applicant = {"hostname": "web9", "os": "linux", "arch": "amd64", "agent_version": "0.1.0", "machine_id": "m"}

    answer = client.post("/agent/enroll", json=applicant | {"token": token})

    assert answer.json["trust"] == {"root_keys": [ROOT_KEY.public.text], "keyset_version": 1}


def test_a_connected_host_is_told_whom_to_trust_when_the_first_release_comes(connect, bring, web1):
    ws = connect(web1)
    assert ws.wait_for("config.set").trust == {"root_keys": [], "keyset_version": 0}
    version = ws.sent[-1].payload.version

    bring(RELEASE, is_promoted=False)

    told = ws.wait_for("config.set", version=version + 1)
    assert told.trust == {"root_keys": [ROOT_KEY.public.text], "keyset_version": 1}
