"""Makes the releases of the end-to-end tests for compose, with keys that are thrown away: `python -m e2e.prepare`."""

import os
import shutil
import tempfile
from pathlib import Path

from demo.releases import Releases
from e2e.stages import RELEASES, ROOT
from tests.image.images import tree

PLACE = ROOT / "build" / "e2e"


def prepare(place: Path) -> None:
    """Write `releases/<version>` there, and `tree` to build the image from, with the first release in it."""
    shutil.rmtree(place, ignore_errors=True)
    # Keys may not lie in a source tree.
    with tempfile.TemporaryDirectory() as aside:
        maker = Releases(Path(aside) / "releases", environment=lambda **more: os.environ | more)
        for seq, (version, code) in enumerate(RELEASES.items(), 1):
            shutil.copytree(maker.make(version, seq, code=code), place / "releases" / version)
    # The server's user reads them in its container.
    for path in (place, place / "releases", *(place / "releases").rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    # A tree of its own: dist/release of this one may hold a release with good keys.
    tree(place / "tree", "1.0.0", place / "releases" / "1.0.0")


if __name__ == "__main__":
    prepare(PLACE)
