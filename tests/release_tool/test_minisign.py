"""Both ways: the stock minisign takes our signatures, we take those of the stock minisign."""

import pytest

from release_tool.checks import IMPLEMENTATIONS
from release_tool.signing import SecretKey
from rm.shared import minisign as ours
from rm.shared.minisign import PublicKey, SignatureError
from tests.release_tool.conftest import minisign, needs_minisign

pytestmark = needs_minisign


def test_the_stock_minisign_takes_every_signature_of_a_release(keys, made):
    for name, key in (("keyset.json", made / "root.pub"), ("manifest.json", keys / "release-1.pub")):
        done = minisign("-V", "-H", "-p", key, "-m", made / name)

        assert (done.returncode, "verified" in done.stdout) == (0, True), done.stderr


def test_the_stock_minisign_refuses_an_altered_comment_of_ours(made):
    signature = made / "keyset.json.minisig"
    signature.write_text(signature.read_text().replace("keyset 1", "keyset 2"))

    assert minisign("-V", "-p", made / "root.pub", "-m", made / "keyset.json").returncode == 1


def test_the_stock_minisign_signs_with_our_keys(keys, made):
    manifest = made / "manifest.json"
    (made / "manifest.json.minisig").unlink()

    done = minisign("-S", "-W", "-s", keys / "release-1.key", "-m", manifest, "-t", "by hand")

    assert done.returncode == 0, done.stderr
    for check in IMPLEMENTATIONS.values():
        key = PublicKey.parse((keys / "release-1.pub").read_text())
        assert ours.verify(manifest.read_bytes(), (made / "manifest.json.minisig").read_text(), [key], check) == key


@pytest.fixture
def theirs(tmp_path):
    """A key pair of the stock minisign, and a file that it signed."""
    file = tmp_path / "file"
    file.write_bytes(bytes(range(256)) * 40)
    assert minisign("-G", "-W", "-p", tmp_path / "their.pub", "-s", tmp_path / "their.key").returncode == 0
    assert minisign("-S", "-H", "-W", "-s", tmp_path / "their.key", "-m", file, "-t", "grüße, seq 7").returncode == 0
    return file


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_we_take_signatures_of_the_stock_minisign(theirs, name):
    key = PublicKey.parse((theirs.parent / "their.pub").read_text())
    signature = theirs.with_name("file.minisig").read_text()

    found = ours.verify(theirs.read_bytes(), signature, [key], IMPLEMENTATIONS[name])

    # minisign leaves leading zeros of an id out
    assert found.name.lstrip("0") in (theirs.parent / "their.pub").read_text()


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_we_refuse_an_altered_file_of_the_stock_minisign(theirs, name):
    key = PublicKey.parse((theirs.parent / "their.pub").read_text())
    signature = theirs.with_name("file.minisig").read_text()

    with pytest.raises(SignatureError) as bytes_differ:
        ours.verify(theirs.read_bytes() + b"x", signature, [key], IMPLEMENTATIONS[name])
    with pytest.raises(SignatureError) as comment_differs:
        ours.verify(theirs.read_bytes(), signature.replace("seq 7", "seq 8"), [key], IMPLEMENTATIONS[name])

    assert (bytes_differ.value.code, comment_differs.value.code) == ("bad_signature", "bad_comment")


def test_we_read_secret_keys_of_the_stock_minisign_and_sign_alike(theirs):
    secret = SecretKey.parse((theirs.parent / "their.key").read_text())
    signature = theirs.with_name("file.minisig").read_text()

    # Ed25519 gives one signature for one message.
    assert (
        secret.sign(theirs.read_bytes(), trusted_comment="grüße, seq 7").splitlines()[1:] == signature.splitlines()[1:]
    )
