"""What must not be in the repository: places of one machine, addresses of registries, secrets, empty promises."""

import re
from pathlib import PurePath

from tests.docs.tracked import tracked_files, tracked_texts

# Assembled, so that this file does not hold what it looks for.
REGISTRY_HOSTS = re.compile(
    r"\b("
    + "|".join(("py" + r"pi\.org", "files.python" + "hosted", r"registry\.npm" + "js", r"(deb|snapshot)\.deb" + "ian"))
    + ")"
)
MACHINE_PATHS = re.compile(r"(^|[^A-Za-z0-9_.])/(wo" + "rk|fa" + "rm)/")
PRIVATE_KEYS = re.compile("-----BEGIN [A-Z ]*PRIVATE" + " KEY-----")
LEFT_OPEN = re.compile(r"\b(TO" + "DO|FIX" + "ME|XX" + r"X)\b")
VAGUE_NAMES = {"utils.py", "helpers.py", "common.py", "manager.py", "misc.py"}


def matches(pattern: re.Pattern[str], *, suffixes: tuple[str, ...] = ()) -> list[str]:
    found = []
    for path, text in tracked_texts():
        if "vendor" in path.parts or (suffixes and path.suffix not in suffixes):
            continue
        found += [
            f"{path}:{number}: {line.strip()[:120]}"
            for number, line in enumerate(text.splitlines(), 1)
            if pattern.search(line)
        ]
    return found


def test_no_file_names_a_path_of_one_machine() -> None:
    assert matches(MACHINE_PATHS) == []


def test_no_file_names_the_host_of_a_registry() -> None:
    assert matches(REGISTRY_HOSTS) == []


def test_lock_files_name_packages_and_hashes_but_no_address() -> None:
    locks = [(path, text) for path, text in tracked_texts() if path.match("requirements/*.txt")]

    assert len(locks) >= 3
    for path, text in locks:
        assert "://" not in text, path
        pins = re.findall(r"^[a-zA-Z0-9].*$", text, re.MULTILINE)
        assert [pin for pin in pins if "==" not in pin] == [], path
        assert len(pins) <= text.count("--hash=sha256:"), path


def test_no_private_key_is_committed() -> None:
    assert matches(PRIVATE_KEYS) == []


def test_nothing_is_left_open_in_the_code() -> None:
    assert matches(LEFT_OPEN, suffixes=(".py", ".html", ".css", ".js", ".sh", ".sql")) == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [str(path) for path in tracked_files() if PurePath(path).name in VAGUE_NAMES] == []
