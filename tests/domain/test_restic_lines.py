"""Commands that people copy mean exactly what they show, read by a real shell."""

import shutil
import subprocess

import pytest

from rm.domain import restic_lines
from tests.snapshots import ODD_NAMES

BASH = shutil.which("bash")
WORDS = [*ODD_NAMES, "", "$HOME `id` $(id)", "a'b\nc\\d", "!history", "nul-less \x01\x7f\u202e\u2066", "#x", "'\n'"]


@pytest.mark.skipif(BASH is None, reason="needs bash")
@pytest.mark.parametrize("word", WORDS)
def test_a_shell_reads_a_quoted_word_back_exactly(word: str) -> None:
    line = f"printf %s {restic_lines.quoted(word)}"

    done = subprocess.run(
        [str(BASH), "-c", line], capture_output=True, env={"LC_ALL": "C.UTF-8", "HOME": "/"}, timeout=60, check=True
    )

    assert done.stdout.decode() == word


@pytest.mark.parametrize("word", WORDS)
def test_a_quoted_word_holds_nothing_that_disguises_it(word: str) -> None:
    assert restic_lines.quoted(word).isprintable()


def test_a_pattern_stands_for_the_path_itself() -> None:
    assert restic_lines.pattern("/a*?[b]\\c") == r"/a\*\?\[b\]\\c"


def test_the_line_is_what_an_agent_with_this_restic_runs() -> None:
    def line(restic: str, target: str = "/t") -> str:
        return restic_lines.restore("/repo", "abcd", target=target, paths=["/a b"], restic=restic)

    assert line("0.14.0") == "restic -r /repo restore abcd --target /t --include '/a b'"
    assert line("0.16.4") == "restic -r /repo restore abcd --target /t --sparse --include '/a b'"
    assert line("0.18.0", "/").startswith("restic -r /repo restore abcd --target / --overwrite=always --sparse")


def test_a_file_is_dumped_as_it_is_and_a_folder_as_an_archive() -> None:
    assert restic_lines.dump("/r", "ab", "/etc/my file", is_folder=False) == (
        "restic -r /r dump ab '/etc/my file' > 'my file'"
    )
    assert restic_lines.dump("/r", "ab", "/", is_folder=True) == "restic -r /r dump --archive tar ab / > snapshot.tar"
