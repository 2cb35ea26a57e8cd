"""Which keys may be trusted: every point of small order is refused, in every way of writing it."""

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rm.shared import ed25519

P = 2**255 - 19
# The y coordinates of the eight points whose order divides eight.
OF_ORDER_EIGHT = (
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
)
SMALL = [0, 1, P - 1, *(int.from_bytes(bytes.fromhex(text), "little") for text in OF_ORDER_EIGHT)]
WAYS = [(y + more, sign) for y in SMALL for more in (0, P) for sign in (0, 1) if y + more < 2**255]


@pytest.mark.parametrize(("y", "sign"), WAYS)
def test_a_key_of_small_order_is_refused(y: int, sign: int) -> None:
    assert ed25519.key_problem((y | sign << 255).to_bytes(32, "little")) != ""


@pytest.mark.parametrize("text", OF_ORDER_EIGHT)
def test_the_reason_is_told(text: str) -> None:
    assert ed25519.key_problem(bytes.fromhex(text)) == "is of small order"


def test_real_keys_are_taken() -> None:
    for number in range(50):
        seed = hashlib.sha256(bytes([number])).digest()
        raw = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
        assert ed25519.key_problem(raw) == ""


@pytest.mark.parametrize("raw", [b"", bytes(31), bytes(33), b"\x02" + bytes(31), b"\xff" * 32])
def test_what_is_no_point_is_refused(raw: bytes) -> None:
    assert ed25519.key_problem(raw) != ""


def test_a_fingerprint_is_the_sha256_of_the_raw_key_in_groups_of_four() -> None:
    text = ed25519.fingerprint(bytes(32))

    assert text == f"SHA256:{hashlib.sha256(bytes(32)).hexdigest()}"
    groups = ed25519.fingerprint_groups(text)
    assert (len(groups), "".join(groups)) == (16, text.removeprefix("SHA256:"))
