"""Makes the releases of the end-to-end tests for compose, with keys that are thrown away: `python -m e2e.prepare`."""

import os
import shutil
from pathlib import Path

from demo.releases import Releases
from e2e.stages import RELEASES, ROOT

PLACE = ROOT / "build" / "e2e"


def main() -> None:
    """Write build/e2e/releases/<version>, and the first of them to dist/release for the image."""
    shutil.rmtree(PLACE, ignore_errors=True)
    maker = Releases(PLACE / "made", environment=lambda **more: os.environ | more)
    for seq, (version, code) in enumerate(RELEASES.items(), 1):
        made = maker.make(version, seq, code=code)
        shutil.copytree(made, PLACE / "releases" / version)
    shutil.copytree(PLACE / "releases" / "1.0.0", Path("dist/release"), dirs_exist_ok=True)
    # The server's user reads them in its container.
    for path in (PLACE, PLACE / "releases", *(PLACE / "releases").rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


if __name__ == "__main__":
    main()
