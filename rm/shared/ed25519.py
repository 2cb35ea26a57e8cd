"""What makes 32 bytes a public Ed25519 key that may be trusted, and how people compare one."""

import hashlib

KEY_BYTES = 32
_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P

Point = tuple[int, int]


def key_problem(raw: bytes) -> str:
    """Why these bytes are no key to trust, in words; empty when they are one.

    Keys of small order are refused: signatures exist that such a key accepts for every message.
    """
    if len(raw) != KEY_BYTES:
        return f"must be {KEY_BYTES} bytes long"
    point = _point(raw)
    if point is None:
        return "is no point of the curve in its one written form"
    for _ in range(3):
        point = _double(point)
    return "is of small order" if point == (0, 1) else ""


def fingerprint(raw: bytes) -> str:
    """What two people or two screens compare: SHA256: and the hex of the key's sha256."""
    return f"SHA256:{hashlib.sha256(raw).hexdigest()}"


def fingerprint_groups(text: str) -> list[str]:
    """The hex of a fingerprint in groups of four, for eyes and voices."""
    digits = text.partition(":")[2] or text
    return [digits[at : at + 4] for at in range(0, len(digits), 4)]


def _point(raw: bytes) -> Point | None:
    number = int.from_bytes(raw, "little")
    y, sign = number & (2**255 - 1), number >> 255
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if x * x % _P != square:
        x = x * pow(2, (_P - 1) // 4, _P) % _P
    if x * x % _P != square or (x == 0 and sign):
        return None
    return (_P - x if x & 1 != sign else x, y)


def _double(point: Point) -> Point:
    x, y = point
    product = _D * x * x * y * y % _P
    return (2 * x * y * pow(1 + product, -1, _P) % _P, (y * y + x * x) * pow(1 - product, -1, _P) % _P)
