"""Keys: made once, reachable by their owner alone, never in a place that is copied or handed out."""

import base64
import os
import shutil
import stat
from pathlib import Path

import pytest

from release_tool.__main__ import main
from release_tool.errors import ToolError
from release_tool.keys import ALLOW_IMAGE, TREE, KeyDirectory, place, refuse_place
from rm.shared import minisign


def secrets_in(directory):
    """Each secret key in the ways in which it could be written somewhere."""
    for file in directory.glob("*.key"):
        line = file.read_text().splitlines()[1]
        seed = base64.b64decode(line)[62:94]
        yield from (line, seed.hex(), base64.b64encode(seed).decode(), repr(seed))


def test_keys_are_made_for_their_owner_alone(keys):
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    assert {path.name for path in keys.iterdir()} == {
        "root.key", "root.pub", "root-recovery.key", "root-recovery.pub", "release-1.key", "release-1.pub",
        "keyset-1.json", "keyset-1.json.minisig", "last-signed.json",
    }  # fmt: skip
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys.iterdir()} == {0o600}


def test_an_open_umask_changes_nothing_about_that(keys_dir):
    os.umask(0)

    main(["keys"])

    assert stat.S_IMODE(keys_dir.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys_dir.iterdir()} == {0o600}


def test_the_first_keyset_names_both_root_keys_and_is_signed_by_the_one_in_use(keys):
    found = KeyDirectory(keys)

    keyset = found.keyset()

    assert (keyset.version, keyset.release_keys) == (1, (found.public("release-1"),))
    assert keyset.root_keys == (found.public("root"), found.public("root-recovery"))
    signature = minisign.Signature.parse(found.keyset_files()[1])
    assert signature.key_id == found.public("root").key_id


def test_keys_are_never_overwritten(keys, refused):
    before = {path.name: path.read_bytes() for path in keys.iterdir()}

    said = refused("keys")

    assert "never overwritten" in said
    assert {path.name: path.read_bytes() for path in keys.iterdir()} == before


def test_a_directory_with_anything_in_it_is_left_alone(keys_dir, refused):
    keys_dir.mkdir()
    (keys_dir / "note").write_text("mine")

    assert "not empty" in refused("keys")
    assert [path.name for path in keys_dir.iterdir()] == ["note"]


def test_nothing_that_is_said_holds_a_secret(keys_dir, tmp_path, capsys):
    release = tmp_path / "release"
    for verb in (
        ["keys"], ["keyset", "--add"], ["build", "--output", str(release)], ["sign", str(release)],
        ["verify", str(release)], ["keys"], ["keyset"], ["sign", "/nowhere"],
    ):  # fmt: skip
        main(verb)
    said = "".join(capsys.readouterr())
    said += "".join(path.read_text("latin-1") for path in release.iterdir())

    secrets = list(secrets_in(keys_dir))
    assert len(secrets) == 16
    assert [secret for secret in secrets if secret in said] == []


@pytest.mark.parametrize("damage", ["cut", "byte"])
def test_a_damaged_key_is_refused_without_a_word_of_it(keys, made, refused, damage):
    file = keys / "release-1.key"
    text = file.read_text()
    file.write_text(text[:-9] if damage == "cut" else text.replace(text[-30:-10], "A" * 20))

    said = refused("sign", made)

    assert str(file) in said
    assert text.splitlines()[1][:40] not in said


@pytest.mark.parametrize("name", ["", "release-1.key"])
def test_keys_that_others_can_read_are_refused(keys, made, refused, name):
    (keys / name).chmod(0o750)

    said = refused("sign", made)

    assert f"chmod {'600' if name else '700'} {keys / name}".rstrip("/") in said


def test_a_key_behind_a_symbolic_link_is_refused(keys, made, refused, tmp_path):
    (keys / "release-1.key").rename(tmp_path / "elsewhere")
    (keys / "release-1.key").symlink_to(tmp_path / "elsewhere")

    assert "symbolic link" in refused("sign", made)


@pytest.mark.parametrize("inside", ["", "keys", "dist/keys", "data"])
def test_keys_inside_the_tree_are_refused(monkeypatch, keys_dir, refused, inside):
    monkeypatch.setenv("RM_KEYS_DIR", str(TREE / inside))

    assert "source tree" in refused("keys")


def test_keys_inside_another_copy_of_the_tree_are_refused(tmp_path):
    (tmp_path / "release_tool").mkdir()
    (tmp_path / "schema.sql").touch()

    with pytest.raises(ToolError, match="source tree"):
        refuse_place(tmp_path / "deep" / "keys", {ALLOW_IMAGE: "1"})


def test_keys_inside_a_data_directory_are_refused(tmp_path, settings, app):
    with pytest.raises(ToolError, match="data directory"):
        refuse_place(settings.data_dir / "keys", {ALLOW_IMAGE: "1"})
    with pytest.raises(ToolError, match="data directory"):
        refuse_place(tmp_path / "new" / "keys", {ALLOW_IMAGE: "1", "RM_DATA_DIR": str(tmp_path / "new")})


def test_a_link_into_a_refused_place_is_refused_too(tmp_path):
    (tmp_path / "link").symlink_to(TREE / "dist")

    with pytest.raises(ToolError, match="source tree"):
        refuse_place(tmp_path / "link" / "keys", {ALLOW_IMAGE: "1"})


def test_keys_in_a_containers_own_layer_are_refused_unless_they_are_thrown_away(monkeypatch, tmp_path):
    mark = tmp_path / "mark"
    mark.touch()
    monkeypatch.setattr("release_tool.keys.CONTAINER_MARKS", (mark,))
    own_layer = Path("/var/rm-keys-that-are-not-made")
    mounted = Path("/dev/shm/rm-keys-that-are-not-made")

    with pytest.raises(ToolError, match="container's own layer"):
        refuse_place(own_layer, {})
    refuse_place(own_layer, {ALLOW_IMAGE: "1"})
    refuse_place(mounted, {})


def test_keys_lie_in_the_home_of_who_calls_unless_told_otherwise(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))

    assert place({}) == tmp_path / ".config" / "restic-manager" / "keys"
    assert place({"RM_KEYS_DIR": "~/elsewhere"}) == tmp_path / "elsewhere"


def test_without_keys_the_verb_that_makes_them_is_named(keys_dir, refused, tmp_path):
    assert "rm-release keys" in refused("build", "--output", tmp_path / "out")


# ---- rotation ----


def test_a_release_key_is_added_and_the_old_one_retired(keys, capsys):
    first = KeyDirectory(keys).public("release-1").name
    assert main(["keyset", "--add", "--retire", first]) == 0

    keyset = KeyDirectory(keys).keyset()

    assert (keyset.version, keyset.release_keys) == (2, (KeyDirectory(keys).public("release-2"),))
    assert KeyDirectory(keys).release_key().public == KeyDirectory(keys).public("release-2")
    assert (keys / "keyset-1.json").exists()


def test_the_sealed_root_key_signs_a_keyset_when_the_other_is_lost(keys, tmp_path):
    sealed = tmp_path / "sealed.key"
    shutil.move(keys / "root-recovery.key", sealed)
    (keys / "root.key").unlink()

    assert main(["keyset", "--add", "--root", str(sealed)]) == 0

    signature = minisign.Signature.parse(KeyDirectory(keys).keyset_files()[1])
    assert signature.key_id == KeyDirectory(keys).public("root-recovery").key_id
    assert KeyDirectory(keys).keyset().version == 2


def test_a_key_that_is_no_root_key_signs_no_keyset(keys, refused):
    assert "not one of the root keys" in refused("keyset", "--add", "--root", keys / "release-1.key")
    assert KeyDirectory(keys).keyset().version == 1


def test_the_last_release_key_cannot_be_retired_alone(keys, refused):
    only = KeyDirectory(keys).public("release-1").name

    assert "No release key would be left" in refused("keyset", "--retire", only)
    assert "does not list" in refused("keyset", "--retire", "0" * 16)
    assert "Say what changes" in refused("keyset")


def test_a_rotation_that_was_cut_off_leaves_the_keyset_before_it(keys):
    (keys / "keyset-2.json.minisig").write_text("half of a signature")

    assert KeyDirectory(keys).keyset().version == 1
    assert main(["keyset", "--add"]) == 0
    assert KeyDirectory(keys).keyset().version == 2


def test_new_keys_after_a_loss_begin_with_the_keyset_version_that_servers_want(keys_dir):
    assert main(["keys", "--keyset-version", "8"]) == 0

    assert KeyDirectory(keys_dir).keyset().version == 8
