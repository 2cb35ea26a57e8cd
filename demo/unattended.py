"""What goes on without a person: a schedule while the server is down, a restore through the server, maintenance."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from demo.play import Play
from demo.stage import ODD_NAME
from demo.waiting import check, until

LEAD = timedelta(seconds=15)
"""What the schedule needs to reach the agent before it is due, and the server to stop."""


class Unattended:
    """The steps; each raises DemoFailed, or returns one line about what happened."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self._stage = play.stage
        self._person = play.person

    def plan_the_nights(self) -> str:
        """Every host backs up all its groups each night, spread over ten minutes."""
        hosts = self._ask("GET", "/hosts")["items"]
        for host in hosts:
            groups = self._ask("GET", f"/hosts/{host['id']}/source-groups")["items"]
            body = {"name": "each night", "cron": "15 3 * * *", "jitter_seconds": 600}
            self._ask("POST", f"/hosts/{host['id']}/schedules", body | {"groups": [group["id"] for group in groups]})
        return f"{len(hosts)} hosts back up at 03:15 every day"

    def run_on_schedule(self) -> str:
        """The run comes due while there is no server; the server hears of it later, once."""
        before = len(self._stage.snapshots("documents"))
        # Agents read cron in their machine's zone, which is this one's.
        due = (datetime.now().astimezone() + LEAD + timedelta(minutes=1)).replace(second=0, microsecond=0)
        body = {
            "name": "once more",
            "cron": f"{due.minute} {due.hour} * * *",
            "groups": [self._play.groups["documents"]],
        }
        schedule = self._ask("POST", f"/hosts/{self._play.host_id}/schedules", body)
        until(self._is_applied, seconds=LEAD.total_seconds() - 5, what="the host takes the schedule over")
        self._stage.server.stop(seconds=10)
        until(
            lambda: len(self._stage.snapshots("documents")) > before,
            seconds=180,
            what="the host backs up by itself, without a server",
        )
        self._play.start_server()
        job = until(lambda: self._fired(schedule["id"]), seconds=60, what="the server hears of the run")
        check(job["outcome"] == "succeeded", f"the run on schedule ended as {job['outcome']}: {job['message']}")
        made = len(self._stage.snapshots("documents")) - before
        check(made == 1, f"{made} snapshots were made in place of 1")
        return f"due {due:%H:%M} with the server stopped; ran once, and was reported once the server was back"

    def restore_through_the_server(self) -> str:
        """Browse to a file with a name that shells trip over, restore it, compare it."""
        newest = self._stage.snapshots("documents")[-1]["id"]
        original = self._stage.documents / ODD_NAME
        listed = self._ask(
            "GET", f"/hosts/{self._play.host_id}/snapshots/{newest}/entries", query={"path": str(original.parent)}
        )
        [entry] = [entry for entry in listed["items"] if entry["name"] == ODD_NAME]
        order = {"snapshot_id": newest, "paths": [entry["path"]]}
        ordered = self._ask("POST", f"/hosts/{self._play.host_id}/restores", order)
        job = self._play.finish(ordered["job_id"], "succeeded")
        restored = Path(job["summary"]["target"]) / str(original).lstrip("/")
        check(restored.is_file(), f"{restored} is not there")
        check(restored.read_bytes() == original.read_bytes(), "the restored file differs from the original")
        checked = job["summary"]["checked_files"]
        return f"{original.stat().st_size:,} bytes, equal; the host itself checked {checked} of {checked} sizes"

    def keep_in_order(self) -> str:
        """Retention of one group, previewed and then done; then prune, then a check that reads all data."""
        path = f"/hosts/{self._play.host_id}/source-groups/{self._play.groups['large']}"
        before = len(self._stage.snapshots("large"))
        preview = self._ask("POST", f"{path}/retention-preview", {"retention": {"keep_last": 1}})
        check(len(preview["removed"]) == before - 1, f"the preview removes {len(preview['removed'])} of {before}")
        typed = {"typed_name": "large"} if preview["needs_typed_name"] else {}
        self._ask("PUT", path, {"retention": {"keep_last": 1}} | typed)
        repository = self._ask("GET", f"/hosts/{self._play.host_id}")["repository"]["id"]
        for kind in ("forget", "prune", "check"):
            for job in self._ask("POST", f"/repositories/{repository}/maintenance/{kind}/run")["items"]:
                self._play.finish(job["id"], "succeeded")
        left = len(self._stage.snapshots("large"))
        check(left == 1, f"{left} snapshots are left in place of 1")
        check(not self._stage.locks(), "a lock remained in the repository")
        return f"{before} snapshots became 1, as previewed; pruned and checked"

    def _is_applied(self) -> bool:
        host = self._ask("GET", f"/hosts/{self._play.host_id}")
        return bool(host["schedules"]["wanted"] == host["schedules"]["applied"])

    def _fired(self, schedule_id: str) -> dict[str, Any] | None:
        found = self._ask("GET", f"/hosts/{self._play.host_id}/jobs")["items"]
        mine = [job for job in found if job["schedule_id"] == schedule_id]
        check(len(mine) <= 1, f"the run is listed {len(mine)} times")
        return mine[0] if mine and mine[0]["state"] == "finished" else None

    def _ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, query: dict[str, str] | None = None
    ) -> dict[str, Any]:
        return self._person.ask(method, path, body, query=query)
