"""When a list of snapshots may no longer be true."""

from datetime import timedelta

import pytest

from rm.domain.snapshots import OLDER_THAN_BACKUP, TOO_OLD, GoodBackup, why_stale
from tests.cast import NOW

MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("taken", "last_good", "why"),
    [
        (NOW, None, ""),
        (NOW - 27 * 60 * MINUTE, None, TOO_OLD),
        (NOW - 30 * MINUTE, GoodBackup(NOW - 10 * MINUTE, NOW - 40 * MINUTE), ""),
        (NOW - 50 * MINUTE, GoodBackup(NOW - 10 * MINUTE, NOW - 40 * MINUTE), OLDER_THAN_BACKUP),
        (NOW - 600 * MINUTE, GoodBackup(NOW - 300 * MINUTE, NOW - 601 * MINUTE), ""),
        (NOW - 15 * MINUTE, GoodBackup(NOW - 10 * MINUTE), ""),
        (NOW - 25 * MINUTE, GoodBackup(NOW - 10 * MINUTE), OLDER_THAN_BACKUP),
    ],
)
def test_a_list_is_fresh_while_it_is_from_after_the_begin_of_the_last_good_backup(taken, last_good, why):
    assert why_stale(taken_at=taken, last_good=last_good, now=NOW) == why
