"""Build, sign, verify: what is signed is what was built, and sequences never go backwards."""

import base64
import hashlib
import json
import subprocess
from datetime import datetime, timedelta, timezone

import pytest

from release_tool.__main__ import main
from release_tool.building import default_version
from release_tool.checks import IMPLEMENTATIONS
from release_tool.keys import TREE, KeyDirectory
from rm.errors import Conflict
from rm.services import releases
from rm.store import releases as stored
from tests.cast import ALICE
from tests.signing import OTHER_KEY, RELEASE_KEY


def manifest_of(directory):
    return json.loads((directory / "manifest.json").read_bytes())


def test_a_release_holds_all_that_is_needed_to_check_it(made):
    assert {path.name for path in made.iterdir()} == {
        "manifest.json", "manifest.json.minisig", "keyset.json", "keyset.json.minisig", "root.pub", "rm-agent",
    }  # fmt: skip


def test_the_manifest_says_what_was_built(keys, made):
    found = manifest_of(made)

    artifact = (made / "rm-agent").read_bytes()
    assert (found["version"], found["seq"], found["channel"], found["guard_min"]) == ("1.5.0", 5, "stable", 2)
    assert found["key_id"] == KeyDirectory(keys).public("release-1").name
    assert found["artifacts"] == [
        {
            "os": "any", "arch": "any", "name": "rm-agent", "size": len(artifact),
            "sha256": hashlib.sha256(artifact).hexdigest(),
        }
    ]  # fmt: skip


def test_version_and_sequence_have_defaults(keys, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for directory in (first, second):
        assert main(["build", "--output", str(directory)]) == 0
        assert main(["sign", str(directory)]) == 0

    assert [manifest_of(one)["version"] for one in (first, second)] == [default_version()] * 2
    # 1 is what agents carry that came out of the tree itself
    assert [manifest_of(one)["seq"] for one in (first, second)] == [2, 3]


def test_a_good_release_is_verified_by_two_implementations(made, capsys):
    assert main(["verify", str(made)]) == 0

    said = capsys.readouterr().out
    assert [name in said for name in ("cryptography", "ecdsa", "All of it holds")] == [True] * 3


def test_the_server_takes_what_the_tool_made(made, bus, settings, app):
    done = releases.import_release(
        bus, directory=made, data_dir=settings.data_dir, actor=ALICE, now=datetime.now(timezone.utc)
    )

    assert (done.release.version, done.release.seq, len(stored.trust()["root_keys"])) == ("1.5.0", 5, 2)


@pytest.mark.parametrize("seq", [5, 4])
def test_a_sequence_that_was_signed_or_passed_is_not_signed_again(keys, made, refused, tmp_path, seq):
    other = tmp_path / "other"
    main(["build", "--version", "1.5.1", "--seq", str(seq), "--output", str(other)])

    said = refused("sign", other)

    assert "never go backwards" in said
    assert "--seq 6" in said
    assert not (other / "manifest.json.minisig").exists()


def test_the_same_bytes_may_be_signed_again(keys, made):
    (made / "manifest.json.minisig").unlink()

    assert main(["sign", str(made)]) == 0
    assert main(["verify", str(made)]) == 0


@pytest.mark.parametrize("damage", ["lost", "{", "[]", '{"seq": "x"}'])
def test_a_forgotten_last_sequence_stops_building_and_signing(keys, made, refused, damage):
    (keys / "last-signed.json").unlink()
    if damage != "lost":
        (keys / "last-signed.json").write_text(damage)

    assert "last-signed.json is missing or damaged" in refused("sign", made)
    assert "last-signed.json is missing or damaged" in refused("build", "--output", made)


def test_signing_needs_no_root_key(keys, tmp_path):
    (keys / "root.key").unlink()
    (keys / "root-recovery.key").unlink()

    assert main(["build", "--output", str(tmp_path / "release")]) == 0
    assert main(["sign", str(tmp_path / "release")]) == 0


def test_two_builds_at_a_fixed_moment_have_the_same_manifest_too(keys, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1790000000")
    for name in ("first", "second"):
        main(["build", "--version", "1.5.0", "--seq", "5", "--output", str(tmp_path / name)])

    assert len({(tmp_path / name / "manifest.json").read_bytes() for name in ("first", "second")}) == 1


def test_an_artifact_that_was_changed_after_the_build_is_not_signed(keys, tmp_path, refused):
    directory = tmp_path / "release"
    main(["build", "--output", str(directory)])
    with (directory / "rm-agent").open("ab") as file:
        file.write(b"x")

    assert "not the file that the manifest names" in refused("sign", directory)
    assert KeyDirectory(keys).last_signed().seq == 0


def test_an_expired_manifest_is_not_signed(keys, tmp_path, refused, monkeypatch):
    long_ago = datetime.now(timezone.utc) - timedelta(days=3)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(int(long_ago.timestamp())))
    main(["build", "--days", "2", "--output", str(tmp_path / "release")])

    assert "expired" in refused("sign", tmp_path / "release")


def test_building_removes_the_signature_of_what_was_there(made):
    main(["build", "--output", str(made)])

    assert not list(made.glob("*.minisig"))


def test_a_retired_key_signs_nothing_more(keys, made, refused, tmp_path):
    first = KeyDirectory(keys).public("release-1").name
    main(["build", "--output", str(tmp_path / "next")])
    main(["keyset", "--add", "--retire", first])

    assert "does not hold the release key" in refused("sign", tmp_path / "next")


DEFECTS = {
    "manifest": ("manifest.json", "does not belong to these bytes"),
    "keyset": ("keyset.json", "does not belong to these bytes"),
    "artifact": ("rm-agent", "does not have the sha256"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_one_altered_byte_fails_verification(made, refused, defect):
    name, words = DEFECTS[defect]
    data = bytearray((made / name).read_bytes())
    data[len(data) // 2] ^= 1
    (made / name).write_bytes(data)

    assert words in refused("verify", made)


def test_verification_with_another_root_key_fails(made, refused, tmp_path):
    other = tmp_path / "other.pub"
    other.write_text(OTHER_KEY.public.text)

    assert "not trusted" in refused("verify", made, "--root", other)


def test_a_release_without_its_artifact_fails_verification(made, refused):
    (made / "rm-agent").unlink()

    assert "rm-agent has 0 bytes" in refused("verify", made)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_each_implementation_tells_a_good_signature_from_bad_ones(name):
    check, key = IMPLEMENTATIONS[name], RELEASE_KEY.public.raw
    signature = base64.b64decode(RELEASE_KEY.sign(b"x", trusted_comment="c").splitlines()[1])[10:]
    message = hashlib.blake2b(b"x").digest()

    assert check(key, signature, message)
    assert not check(key, signature, message[:-1] + b"x")
    assert not check(key, signature[:-1] + bytes([signature[-1] ^ 1]), message)
    assert not check(OTHER_KEY.public.raw, signature, message)
    assert not check(key, signature[:-1], message)
    assert not check(b"\xff" * 32, signature, message)


def test_a_rotated_release_is_taken_by_a_server_that_knew_the_key_before(keys, made, tmp_path, bus, settings, app):
    now = datetime.now(timezone.utc)
    bring = lambda directory: releases.import_release(  # noqa: E731
        bus, directory=directory, data_dir=settings.data_dir, actor=ALICE, now=now
    )
    bring(made)
    later = tmp_path / "later"
    main(["keyset", "--add", "--retire", KeyDirectory(keys).public("release-1").name])
    main(["build", "--version", "1.6.0", "--output", str(later)])
    main(["sign", str(later)])

    bring(later)

    assert stored.trust()["keyset_version"] == 2
    assert [one.withdrawn_why for one in stored.list_all()] == ["", "key_retired"]


def test_keys_made_anew_are_refused_until_trust_is_replaced(keys, made, tmp_path, bus, settings, app, monkeypatch):
    now = datetime.now(timezone.utc)
    releases.import_release(bus, directory=made, data_dir=settings.data_dir, actor=ALICE, now=now)
    monkeypatch.setenv("RM_KEYS_DIR", str(tmp_path / "new-keys"))
    main(["keys", "--keyset-version", "2"])
    later = tmp_path / "later"
    main(["build", "--seq", "6", "--output", str(later)])
    main(["sign", str(later)])

    with pytest.raises(Conflict) as caught:
        releases.import_release(bus, directory=later, data_dir=settings.data_dir, actor=ALICE, now=now)
    done = releases.import_release(
        bus, directory=later, data_dir=settings.data_dir, actor=ALICE, now=now, new_trust=True
    )

    assert (caught.value.code, done.is_trust_replaced) == ("unknown_root", True)


def test_the_script_runs_from_any_directory(keys, tmp_path):
    script = TREE / "scripts" / "rm-release"

    done = subprocess.run([script, "verify", "nowhere"], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr.startswith("rm-release: nowhere")) == (1, True), done.stderr
