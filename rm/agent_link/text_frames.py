"""Text frames of a WebSocket that are whole: taken out of what arrived, and made for what is sent.

Nearly everything that an agent and the server say to each other is one short text in one frame. wsproto makes a frame,
a message and an event of each, which costs more than all else that a heartbeat does; it keeps what is not so simple.
"""

from typing import NamedTuple

WHOLE_TEXT = 0x81
MASKED = 0x80
SHORT = 126


class Taken(NamedTuple):
    """What was found: the texts, where the bytes begin that are none, and whether those may become one with more."""

    texts: list[str]
    rest_at: int
    waits: bool


def texts_in(data: bytes | bytearray, *, limit: int) -> Taken:
    """Take the whole texts that `data` begins with, as a client sends them, each of at most `limit` bytes in UTF-8.

    It ends before the first frame that is in pieces, over 64 KiB, of another kind, or wrong in any way: not `waits`.
    """
    texts: list[str] = []
    at, size = 0, len(data)
    while at < size:
        if data[at] != WHOLE_TEXT:
            return Taken(texts, at, waits=False)
        if size - at < 2:
            return Taken(texts, at, waits=True)
        length, mask_at = data[at + 1] - MASKED, at + 2
        if length == SHORT:
            if size - at < 4:
                return Taken(texts, at, waits=True)
            length, mask_at = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            if length < SHORT:
                # not the shortest form
                return Taken(texts, at, waits=False)
        elif not 0 <= length < SHORT:
            return Taken(texts, at, waits=False)
        begin, end = mask_at + 4, mask_at + 4 + length
        if length > limit or end > size:
            return Taken(texts, at, waits=length <= limit)
        try:
            texts.append(_unmasked(data[begin:end], data[mask_at:begin]).decode())
        except UnicodeDecodeError:
            return Taken(texts, at, waits=False)
        at = end
    return Taken(texts, at, waits=False)


def _unmasked(body: bytes | bytearray, mask: bytes | bytearray) -> bytes:
    length = len(body)
    masks = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(body, "big") ^ int.from_bytes(masks, "big")).to_bytes(length, "big")


def frame_of(text: str) -> bytes:
    """The frame in which a server sends a text."""
    body = text.encode()
    length = len(body)
    if length < SHORT:
        return bytes((WHOLE_TEXT, length)) + body
    if length < 1 << 16:
        return bytes((WHOLE_TEXT, SHORT)) + length.to_bytes(2, "big") + body
    return bytes((WHOLE_TEXT, SHORT + 1)) + length.to_bytes(8, "big") + body
