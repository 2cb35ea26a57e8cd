"""The WSGI application: `gunicorn -c gunicorn.conf.py app:app`."""

import sys

from rm import care_cli
from rm.config import Settings
from rm.errors import NotReady
from rm.factory import create_app, create_bare_app

# gunicorn's code for "the application cannot be loaded": it stops instead of trying again for ever
CANNOT_LOAD = 4

try:
    app = create_bare_app(Settings.from_env()) if care_cli.is_wanted(sys.argv) else create_app(Settings.from_env())
except NotReady as error:
    print(f"restic-manager cannot start: {error}", file=sys.stderr)  # noqa: T201
    sys.exit(CANNOT_LOAD)
