"""A large tree with everything that a file system can hold, and what there is to compare in two of them."""

import os
import random
import stat
from typing import Any

ODD_NAMES = [
    b"new\nline", b"tab\there", b"-dash", b"star*", b"q?", b"[ab]", b"back\\slash", b"back\\*x", b" lead", b"trail ",
    "\N{GRINNING FACE}".encode(), b"L" * 255, b"...", b'quote"q', b"{a,b}", b"$HOME", b"ctl\x01x", b"<&>", b"!bang",
    b"#hash", "\N{LINE SEPARATOR}x".encode(), "true\N{REPLACEMENT CHARACTER}".encode(), b"\\ufffd",
]  # fmt: skip
# Names that no JSON can carry.
LOST_NAMES = [b"caf\xe9", b"caf\xe8", b"\xff\xfe", b"half\xe2\x82"]
SEED = 5


def write(path: bytes, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        os.write(handle, content)
    finally:
        os.close(handle)


def plant(root: bytes, *, files: int, per_folder: int = 500) -> None:
    """Make the tree."""
    chance = random.Random(SEED)
    content = chance.randbytes(4096)
    for number in range(0, files, per_folder):
        folder = root + b"/folder %04d" % (number // per_folder)
        os.mkdir(folder)
        for one in range(number, min(number + per_folder, files)):
            write(folder + b"/%06d" % one, b"%d " % one + content[: one % 97])
    odd = root + b"/odd"
    os.mkdir(odd)
    for name in [*ODD_NAMES, *LOST_NAMES]:
        write(odd + b"/" + name, name)
    for name in [b"folder*", b"fol\xe9", b"\n"]:
        os.mkdir(odd + b"/" + name)
        write(odd + b"/" + name + b"/inside \xfc", b"in")
    special = root + b"/special"
    os.mkdir(special)
    write(special + b"/linked", b"one file, three names")
    os.link(special + b"/linked", special + b"/second name")
    os.link(special + b"/linked", odd + b"/third name")
    with open(special + b"/sparse", "wb") as file:
        file.write(b"begin")
        file.seek(8 * 1024 * 1024)
        file.write(b"middle")
        file.truncate(16 * 1024 * 1024)
    os.truncate(os.open(special + b"/hole only", os.O_CREAT | os.O_WRONLY), 4 * 1024 * 1024)
    write(special + b"/empty", b"")
    write(special + b"/large", chance.randbytes(3_000_000))
    write(special + b"/with attributes", b"x")
    os.setxattr(special + b"/with attributes", b"user.note", b"\x00bytes\xff")
    os.setxattr(special, b"user.folder", b"yes")
    os.symlink(b"linked", special + b"/link")
    # Restic 0.14 spoils a target that is no UTF-8; later ones do not.
    os.symlink("/nowhere/at all\n\N{SNOWMAN}".encode(), special + b"/dangling")
    os.mkfifo(special + b"/pipe")
    os.makedirs(root + b"/empty/very/empty")
    for name, mode in ((b"secret", 0o600), (b"program", 0o4755), (b"nothing", 0o000), (b"shared", 0o2770)):
        write(special + b"/" + name, name)
        os.chmod(special + b"/" + name, mode)
    os.chmod(root + b"/empty/very", 0o1777)
    for name, nanoseconds in (
        (b"linked", 1),
        (b"large", 1_000_000_000_123_456_789),
        (b"empty", 5_000_000_000_000_000_001),
    ):
        os.utime(special + b"/" + name, ns=(nanoseconds, nanoseconds))
    os.utime(special + b"/link", ns=(7, 7_000_000_007), follow_symlinks=False)
    os.utime(root + b"/empty/very/empty", ns=(1, 1_234_567_890_123_456_789))
    os.utime(special, ns=(1, 987_654_321_987_654_321))


def told(root: bytes) -> dict[bytes, tuple[Any, ...]]:
    """Everything that is to be equal, by path below the root."""
    found: dict[bytes, tuple[Any, ...]] = {}
    waiting = [b""]
    while waiting:
        folder = waiting.pop()
        for entry in os.scandir(root + folder):
            path = folder + b"/" + entry.name
            found[path] = _told(root, path)
            if entry.is_dir(follow_symlinks=False):
                waiting.append(path)
    # Which names are one file, and not what its inode is called.
    groups: dict[Any, list[bytes]] = {}
    for path, facts in found.items():
        groups.setdefault(facts[-1], []).append(path)
    return {path: (*facts[:-1], sorted(groups[facts[-1]])) for path, facts in found.items()}


def _told(root: bytes, path: bytes) -> tuple[Any, ...]:
    whole = root + path
    seen = os.lstat(whole)
    content: Any = None
    if stat.S_ISREG(seen.st_mode):
        with open(whole, "rb", buffering=0) as file:
            content = hash(file.read()) if seen.st_size > 100_000 else file.read()
    elif stat.S_ISLNK(seen.st_mode):
        content = os.readlink(whole)
    attributes = {
        name: os.getxattr(whole, name, follow_symlinks=False) for name in os.listxattr(whole, follow_symlinks=False)
    }
    size = None if stat.S_ISDIR(seen.st_mode) else seen.st_size
    return (
        seen.st_mode, seen.st_uid, seen.st_gid, size, seen.st_mtime_ns, content, attributes,
        None if stat.S_ISDIR(seen.st_mode) else seen.st_nlink,
        (seen.st_dev, seen.st_ino),
    )  # fmt: skip
