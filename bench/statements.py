"""How many SQL statements a page takes: python -m bench.statements DATA_DIR PATH … prints {path: count}."""

import json
import sys
from pathlib import Path

from bench import seed
from rm.config import Settings
from rm.factory import create_app
from rm.store import database


def count(data_dir: Path, paths: list[str]) -> dict[str, int]:
    """The statements of each page for a signed-in person, the second time it is asked for."""
    app = create_app(Settings(data_dir=data_dir, log_level="warning").checked())
    app.config["RM_KEEP_CONNECTION"] = True
    client = app.test_client()
    client.set_cookie("rm_session", seed.SESSION, domain="127.0.0.1")
    found: dict[str, int] = {}
    with database.connection():
        seen: list[str] = []
        database.db.connection().set_trace_callback(seen.append)
        for path in paths:
            for _ in range(2):
                seen.clear()
                answer = client.get(path, base_url="http://127.0.0.1:8080")
                if answer.status_code != 200:
                    raise SystemExit(f"{path} answered {answer.status_code}")
            found[path] = len(seen)
    return found


if __name__ == "__main__":
    print(json.dumps(count(Path(sys.argv[1]), sys.argv[2:])))
