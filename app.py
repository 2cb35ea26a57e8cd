"""The WSGI application: `gunicorn -c gunicorn.conf.py app:app`."""

import sys

from rm.config import Settings
from rm.errors import NotReady
from rm.factory import create_app

# gunicorn's code for "the application cannot be loaded": it stops instead of trying again for ever
CANNOT_LOAD = 4

try:
    app = create_app(Settings.from_env())
except NotReady as error:
    print(f"restic-manager cannot start: {error}", file=sys.stderr)  # noqa: T201
    sys.exit(CANNOT_LOAD)
