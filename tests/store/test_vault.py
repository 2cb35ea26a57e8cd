"""Secrets at rest."""

import pytest

from rm.errors import NotReady
from rm.factory import create_app
from rm.runtime import runtime
from rm.store import database
from rm.store.models import Repository
from rm.store.vault import UnsealError, Vault
from tests.cast import NOW

KEY = b"k" * 32


def test_a_secret_opens_where_it_was_sealed():
    vault = Vault(KEY)

    assert (
        vault.unseal(vault.seal("hunter2", place="repositories:1:password"), place="repositories:1:password")
        == "hunter2"
    )


def test_a_secret_moved_to_another_row_does_not_open():
    vault = Vault(KEY)
    sealed = vault.seal("hunter2", place="repositories:1:password")

    with pytest.raises(UnsealError) as caught:
        vault.unseal(sealed, place="repositories:2:password")

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("damage", [b"", b"\x01", b"\x02" + b"x" * 40])
def test_a_damaged_secret_is_an_error_and_not_garbage(damage):
    with pytest.raises(UnsealError):
        Vault(KEY).unseal(damage, place="repositories:1:password")


def test_sealing_twice_gives_two_blobs():
    vault = Vault(KEY)

    assert vault.seal("same", place="p") != vault.seal("same", place="p")


def test_the_key_file_is_private_and_survives_a_restart(settings):
    create_app(settings)
    first = settings.secret_key_file.read_bytes()

    create_app(settings)

    assert settings.secret_key_file.read_bytes() == first
    assert settings.secret_key_file.stat().st_mode & 0o777 == 0o600


def test_a_missing_key_file_is_named_and_no_new_one_is_made(settings):
    create_app(settings)
    settings.secret_key_file.unlink()

    with pytest.raises(NotReady, match="is missing"):
        create_app(settings)

    assert not settings.secret_key_file.exists()


def test_another_key_file_is_refused_and_both_sides_stay_as_they_were(settings):
    app = create_app(settings)
    original = settings.secret_key_file.read_bytes()
    with database.connection():
        sealed = runtime(app).vault.seal("hunter2", place="repositories:r:password")
        Repository.create(id="r", name="r", location="/r", password_sealed=sealed, created_at=NOW, changed_at=NOW)
    other = b"b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcm90aGVyMTI=\n"
    settings.secret_key_file.write_bytes(other)

    with pytest.raises(NotReady, match="not the one"):
        create_app(settings)

    assert settings.secret_key_file.read_bytes() == other
    settings.secret_key_file.write_bytes(original)
    again = create_app(settings)
    with database.connection():
        stored = Repository.get_by_id("r").password_sealed
        assert runtime(again).vault.unseal(stored, place="repositories:r:password") == "hunter2"


@pytest.mark.parametrize("content", [b"", b"too short", b"\xff\xfe not base64", b"c2hvcnQ="])
def test_a_damaged_key_file_is_refused_and_not_overwritten(settings, content):
    create_app(settings)
    settings.secret_key_file.write_bytes(content)

    with pytest.raises(NotReady, match="key file"):
        create_app(settings)

    assert settings.secret_key_file.read_bytes() == content
