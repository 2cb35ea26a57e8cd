"""The size of a repository, day by day."""

from rm.services import repositories
from rm.shared.protocol import RepositoryStats
from rm.store.models import RepositoryDay
from tests.cast import NOW
from tests.services.maintenance.acting import DAY, HOUR


def test_one_row_a_day_keeps_the_last_figures_of_that_day(bus, place, web1):
    def report(now, **figures):
        stats = RepositoryStats(repository_id=place, restic_repository_id="ab" * 32, **figures)
        repositories.keep_stats(bus, host_id=web1.id, stats=stats, now=now)

    report(NOW, total_bytes=100, snapshot_count=1)
    report(NOW + HOUR, snapshot_count=2)
    report(NOW + DAY, total_bytes=200)

    days = [
        (row.day, row.total_bytes, row.snapshot_count) for row in RepositoryDay.select().order_by(RepositoryDay.day)
    ]
    assert days == [("2026-11-23", 100, 2), ("2026-11-24", 200, None)]


def test_figures_of_another_repository_are_no_figures_of_this_one(bus, place, web1):
    stats = RepositoryStats(repository_id=place, restic_repository_id="cd" * 32, total_bytes=5)

    repositories.keep_stats(bus, host_id=web1.id, stats=stats, now=NOW)

    assert RepositoryDay.select().count() == 0
