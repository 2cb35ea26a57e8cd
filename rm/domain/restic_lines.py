"""The restic commands that a person can run alone, quoted so that a shell reads exactly what was meant."""

import re
import shlex
from collections.abc import Sequence

# What a terminal would act upon, or what makes a name look like another one.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
_PATTERN = re.compile(r"([\\*?\[\]])")


def quoted(word: str) -> str:
    """A word as bash, zsh and other shells with $'…' read it back exactly."""
    if not _UNSAFE.search(word):
        return shlex.quote(word)
    escaped = word.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + _UNSAFE.sub(lambda match: _escape(match.group()), escaped) + "'"


def pattern(path: str) -> str:
    """A path as restic's --include takes it literally."""
    return _PATTERN.sub(r"\\\1", path)


def restore(location: str, snapshot_id: str, *, target: str, paths: Sequence[str], restic: str = "") -> str:
    """Restores these paths, or everything, below a target; as an agent does it, where its restic is given."""
    words = ["restic", "-r", location, "restore", snapshot_id, "--target", target]
    version = _version(restic)
    if version >= (0, 17):
        words.append("--overwrite=always" if target == "/" else "--overwrite=never")
    if version >= (0, 15):
        words.append("--sparse")
    for path in paths:
        words += ["--include", pattern(path)]
    return _line(words)


def dump(location: str, snapshot_id: str, path: str, *, is_folder: bool) -> str:
    """Writes one file to the present folder, or a folder as one archive."""
    name = path.rstrip("/").rpartition("/")[2] or "snapshot"
    words = ["restic", "-r", location, "dump"]
    if is_folder:
        return f"{_line([*words, '--archive', 'tar', snapshot_id, path])} > {quoted(f'{name}.tar')}"
    return f"{_line([*words, snapshot_id, path])} > {quoted(name)}"


def listing(location: str, snapshot_id: str, path: str) -> str:
    """Lists a folder of a snapshot."""
    return _line(["restic", "-r", location, "ls", snapshot_id, path])


def search(location: str, snapshot_id: str, text: str) -> str:
    """Finds names that contain a text in a snapshot."""
    return _line(["restic", "-r", location, "find", "--ignore-case", "--snapshot", snapshot_id, f"*{pattern(text)}*"])


def difference(location: str, older_id: str, newer_id: str) -> str:
    """Says what changed from one snapshot to another."""
    return _line(["restic", "-r", location, "diff", older_id, newer_id])


def _version(text: str) -> tuple[int, ...]:
    found = re.match(r"(\d{1,4})\.(\d{1,4})", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _line(words: Sequence[str]) -> str:
    return " ".join(quoted(word) for word in words)


def _escape(character: str) -> str:
    code = ord(character)
    named = {0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t"}.get(code)
    if named is not None:
        return named
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"
