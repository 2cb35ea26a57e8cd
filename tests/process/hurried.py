"""The deployed application with less patience: who keeps backups waiting gives way after seconds, and comes back soon.

RM_TEST_BOX says how many seconds each time box has.
"""

import os
from datetime import timedelta

from apscheduler.schedulers.background import BackgroundScheduler

from rm.domain import maintenance as rules
from rm.services import jobs

BOX_SECONDS = int(os.environ["RM_TEST_BOX"])

rules.GIVE_WAY_AFTER = timedelta(seconds=3)
rules.AFTER_GIVING_WAY = timedelta(seconds=1)

_usual_queue = jobs.queue
_usual_add = BackgroundScheduler.add_job


def _queue(*args, time_box_seconds=0, **more):
    return _usual_queue(*args, time_box_seconds=BOX_SECONDS if time_box_seconds else 0, **more)


def _add_job(self, job, trigger, *, seconds, id):
    often = 1 if id == "keep_repositories_in_order" else seconds
    return _usual_add(self, job, trigger, seconds=often, id=id)


jobs.queue = _queue
BackgroundScheduler.add_job = _add_job

from app import app  # noqa: E402, F401 - made with the names above
