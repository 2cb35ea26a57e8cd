"""The documentation is built without a warning, and the site needs nothing from elsewhere."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.docs.tracked import ROOT

MKDOCS = ROOT / ".venv-docs" / "bin" / "mkdocs"
FETCHED = re.compile(r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["'](https?:)?//|<link\b[^>]*stylesheet[^>]*//""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not MKDOCS.exists():
        pytest.skip("needs mkdocs: scripts/make-venv docs installs it")
    place = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [MKDOCS, "build", "--quiet", "--strict", "--site-dir", str(place)], cwd=ROOT, text=True, capture_output=True,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return place


def test_every_page_of_the_documentation_is_in_the_site(site: Path) -> None:
    pages = [path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")]

    assert [str(page) for page in pages if not (site / page).is_file()] == []


def test_the_site_fetches_nothing_from_elsewhere(site: Path) -> None:
    assert [page.name for page in site.rglob("*.html") if FETCHED.search(page.read_text(encoding="utf-8"))] == []


def test_no_style_of_the_site_fetches_anything_from_elsewhere(site: Path) -> None:
    styles = [path.read_text(encoding="utf-8") for path in site.rglob("*.css")]

    assert styles
    assert [
        found for text in styles for found in re.findall(r"(?:url\(|@import\s*)[\"']?(?:https?:)?//[^)\"']*", text)
    ] == []


def test_no_page_has_a_diagram_whose_library_the_theme_would_fetch(site: Path) -> None:
    pages = [path for path in site.rglob("*.html") if 'class="mermaid"' in path.read_text(encoding="utf-8")]

    assert pages == []


def test_the_search_has_its_index_and_what_it_takes_to_work_from_files(site: Path) -> None:
    index = (site / "search" / "search_index.js").read_text(encoding="utf-8")
    pages = [path.relative_to(ROOT / "docs").with_suffix(".html").as_posix() for path in (ROOT / "docs").rglob("*.md")]

    assert [page for page in pages if f'"location":"{page}"' not in index] == []
    assert "iframe-worker" in (site / "index.html").read_text(encoding="utf-8")
