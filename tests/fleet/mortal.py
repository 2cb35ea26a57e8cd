"""The server's own process configuration, but killed with SIGKILL after every so-manyth commit of its database.

Used as gunicorn's configuration in place of gunicorn.conf.py; DIE_AFTER says after how many commits.
"""

import os
import signal
from pathlib import Path

_OWN = Path(__file__).parents[2] / "gunicorn.conf.py"
exec(compile(_OWN.read_text(), str(_OWN), "exec"))  # the same names become this configuration's

_usual_start = post_worker_init  # noqa: F821 - came with the configuration


def post_worker_init(worker):
    _usual_start(worker)
    from rm.store import database

    left = int(os.environ["DIE_AFTER"])
    commit = database.db.commit

    def commit_and_die(*args, **more):
        nonlocal left
        answer = commit(*args, **more)
        left -= 1
        if left == 0:
            os.killpg(os.getpgrp(), signal.SIGKILL)
        return answer

    database.db.commit = commit_and_die
