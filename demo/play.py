"""What is done in the demo, step by step, through forms, the JSON API and plain restic."""

import secrets
import shutil
from typing import Any

from demo.person import Person
from demo.stage import ODD_NAME, Stage
from demo.waiting import DemoFailed, check, until

USERNAME = "admin"
JOB_SECONDS = 180
SECRETS_FILE = "host/state/secrets.json"


class Play:
    """The steps; each raises DemoFailed, or returns one line about what happened."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.person = Person(stage.base_url)
        self.password = secrets.token_urlsafe(12)
        self.host_id = ""
        self.groups: dict[str, str] = {}
        self._known_large = 0

    def start_server(self) -> str:
        self.stage.start_server()
        self._wait_until_served()
        return self.stage.base_url

    def set_up(self) -> str:
        self.person.set_up(token=self.stage.setup_token, username=USERNAME, password=self.password)
        self.person.sign_in(username=USERNAME, password=self.password)
        self.person.page("/")
        return f"the setup link made {USERNAME}, who signed in"

    def enrol(self) -> str:
        minted = self.person.ask("POST", "/enrolment-tokens", {"max_uses": 1})
        self.stage.enrol(minted["token"])
        self.stage.start_agent()
        host = until(self._online_host, seconds=30, what="the host comes online")
        self.host_id = host["id"]
        return f"{host['name']} is online"

    def set_repository(self) -> str:
        self._host(
            "PUT",
            "/repository",
            {
                "name": "local",
                "location": str(self.stage.repository),
                "password": self.stage.repository_password,
                "username": "",
                "secret": "",
            },
        )
        before = self._host("POST", "/repository/test")
        check(not before["ok"] and before["reason"] == "no_repository", f"the first test said {before}")
        self._finish(self._order("init"), "succeeded")
        after = self._host("POST", "/repository/test")
        check(after["ok"], f"the test after init said {after}")
        return "the host says: none yet; init made it; the test opens it"

    def choose_sources(self) -> str:
        self.stage.make_documents()
        self.stage.make_large()
        for name, path in (("documents", self.stage.documents), ("large", self.stage.large)):
            group = self._host("POST", "/source-groups", {"name": name, "includes": [str(path)], "excludes": []})
            self.groups[name] = group["id"]
        return "documents, large"

    def back_up(self) -> str:
        job = self._finish(self._order("backup", "documents"), "succeeded")
        [snapshot] = self.stage.snapshots("documents")
        return f"{job['id']} made snapshot {snapshot['short_id']}"

    def cancel_one(self) -> str:
        job_id = self._order_large()
        self.person.ask("POST", f"/jobs/{job_id}/cancel")
        self._finish(job_id, "cancelled")
        check(not self.stage.locks(), "a lock remained in the repository")
        check(not self.stage.snapshots("large"), "a cancelled backup made a snapshot")
        return "cancelled, no lock remains"

    def kill_server(self) -> str:
        job_id = self._order_large()
        self.stage.kill_server()
        self.stage.start_server()
        self._wait_until_served()
        self._check_ended_once(job_id)
        return "succeeded, once, after kill -9 of the server"

    def kill_agent(self) -> str:
        job_id = self._order_large()
        killed = self.stage.agent_pid()
        self.stage.kill_agent()
        self._check_ended_once(job_id)
        check(self.stage.agent_pid() != killed, "the agent that was killed still runs")
        return "succeeded, once, after kill -9 of the agent"

    def list_snapshots(self) -> str:
        self._finish(self._order("snapshots"), "succeeded")
        there = self.stage.snapshots()
        page = self.person.page(f"/hosts/{self.host_id}/snapshots")
        missing = [snapshot["short_id"] for snapshot in there if snapshot["short_id"] not in page]
        check(not missing, f"the host's page of snapshots does not show {', '.join(missing)}")
        return f"{len(there)}, all on the host's page"

    def restore_one(self) -> str:
        target = self.stage.directory / "restored"
        original = self.stage.documents / ODD_NAME
        self.stage.restic(
            "restore", "latest", "--tag", "documents", "--include", str(original.parent), "--target", str(target)
        )
        restored = target / str(original).lstrip("/")
        check(restored.is_file(), f"restic did not restore {original.name!r}")
        check(restored.read_bytes() == original.read_bytes(), "the restored file differs from the original")
        shutil.rmtree(target)
        return f"plain restic, {original.stat().st_size:,} bytes, equal"

    def look_for_secrets(self) -> str:
        """The repository's password may be in the agent's own file and nowhere else; the person's is nowhere."""
        holding = self.stage.files_with(self.stage.repository_password)
        check(holding == [SECRETS_FILE], f"the repository's password is in {', '.join(holding)}")
        check(not self.stage.files_with(self.password), "the person's password is in a file")
        return "only in the agent's own file; not in the database, a log or a job"

    def stop_server(self) -> str:
        with self.person.watch("/live/fleet"):
            took = self.stage.server.stop(seconds=10)
        check(took < 3, f"the server took {took:.1f} s to stop")
        return f"SIGTERM to exit in {took:.1f} s, with an agent and a live page connected"

    # ---- what the steps share

    def _wait_until_served(self) -> None:
        def is_served() -> bool:
            if not self.stage.server.is_running():
                raise DemoFailed("the server ended right after its start")
            return self.person.is_well()

        until(is_served, seconds=30, what="the server says that it is well")

    def _host(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        return self.person.ask(method, f"/hosts/{self.host_id}{path}", body)

    def _online_host(self) -> dict[str, Any] | None:
        return next((host for host in self.person.ask("GET", "/hosts")["items"] if host["status"] == "online"), None)

    def _job(self, job_id: str) -> dict[str, Any]:
        return self.person.ask("GET", f"/jobs/{job_id}")

    def _order(self, kind: str, group: str = "") -> str:
        body = {"kind": kind, **({"source_group_id": self.groups[group]} if group else {})}
        job_id: str = self._host("POST", "/jobs", body)["job_id"]
        return job_id

    def _order_large(self) -> str:
        """A backup that reads for seconds, and is in the middle of it."""
        self.stage.make_large()
        job_id = self._order("backup", "large")

        def is_under_way() -> bool:
            job = self._job(job_id)
            check(job["state"] != "finished", f"the large backup ended at once: {job}")
            return bool(job["state"] == "running" and (job["progress"] or {}).get("bytes_done", 0) > 0)

        until(is_under_way, seconds=60, what="the large backup reads")
        return job_id

    def _finish(self, job_id: str, outcome: str) -> dict[str, Any]:
        def finished() -> dict[str, Any] | None:
            job = self._job(job_id)
            return job if job["state"] == "finished" else None

        job = until(finished, seconds=JOB_SECONDS, what=f"job {job_id} ends")
        if job["outcome"] != outcome:
            raise DemoFailed(f"job {job_id} ended as {job['outcome']}, not {outcome}: {job['reason']} {job['message']}")
        return job

    def _check_ended_once(self, job_id: str) -> None:
        self._finish(job_id, "succeeded")
        self._known_large += 1
        found = len(self.stage.snapshots("large"))
        check(found == self._known_large, f"there are {found} snapshots in place of {self._known_large}")
        same = [job for job in self._host("GET", "/jobs")["items"] if job["id"] == job_id]
        check(len(same) == 1, f"the job is listed {len(same)} times")
        check(not self.stage.locks(), "a lock remained in the repository")
