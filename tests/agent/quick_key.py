"""Makes a test repository's key cheap to open: restic's own takes most of a second."""

import base64
import hashlib
import json
import os
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305


def cheapen(repository: Path, password: str) -> None:
    """Encrypt the repository's master key anew under the same password with the least scrypt work."""
    [path] = (repository / "keys").iterdir()
    key = json.loads(path.read_bytes())
    master = _open(_derive(key, password), base64.b64decode(key["data"]))
    key |= {"N": 2, "r": 1, "p": 1}
    key["data"] = base64.b64encode(_seal(_derive(key, password), master)).decode()
    data = json.dumps(key).encode()
    path.chmod(0o600)
    path.unlink()
    (path.parent / hashlib.sha256(data).hexdigest()).write_bytes(data)


def _derive(key: dict[str, str | int], password: str) -> bytes:
    return hashlib.scrypt(
        password.encode(),
        salt=base64.b64decode(str(key["salt"])),
        n=int(key["N"]),
        r=int(key["r"]),
        p=int(key["p"]),
        maxmem=2**28,
        dklen=64,
    )


def _mac(key: bytes, nonce: bytes, data: bytes) -> bytes:
    mask = Cipher(algorithms.AES(key[32:48]), modes.ECB()).encryptor().update(nonce)
    return Poly1305.generate_tag(key[48:64] + mask, data)


def _stream(key: bytes, nonce: bytes, data: bytes) -> bytes:
    return Cipher(algorithms.AES(key[:32]), modes.CTR(nonce)).encryptor().update(data)


def _open(key: bytes, sealed: bytes) -> bytes:
    nonce, data, tag = sealed[:16], sealed[16:-16], sealed[-16:]
    assert _mac(key, nonce, data) == tag
    return _stream(key, nonce, data)


def _seal(key: bytes, data: bytes) -> bytes:
    nonce = os.urandom(16)
    hidden = _stream(key, nonce, data)
    return nonce + hidden + _mac(key, nonce, hidden)
