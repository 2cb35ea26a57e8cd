"""What is done in the demo, step by step, through forms, the JSON API and plain restic."""

import secrets
import shutil
from typing import Any

from demo.person import Person
from demo.stage import ODD_NAME, Stage
from demo.waiting import DemoFailed, check, until

USERNAME = "admin"
JOB_SECONDS = 180
# db1 backs up to web1's repository, so these two hosts hold its password and nas1 does not.
SECRETS_FILES = ["db1/state/secrets.json", "web1/state/secrets.json"]


class Play:
    """The steps; each raises DemoFailed, or returns one line about what happened."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.person = Person(stage.base_url)
        self.password = secrets.token_urlsafe(12)
        self.host_id = ""
        self.groups: dict[str, str] = {}
        self._known: set[str] = set()
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
        self.host_id = self._enrol_with_token("web1")
        return "web1 is online"

    def announce(self) -> str:
        """db1 has no token: it shows a fingerprint, a person compares it and lets it in."""
        machine = self.stage.machines["db1"]
        fingerprint = machine.announce()

        def waiting() -> dict[str, Any] | None:
            found = self.person.ask("GET", "/pending-hosts")["items"]
            return next((host for host in found if host["fingerprint"] == fingerprint), None)

        pending = until(waiting, seconds=30, what="the server shows the same fingerprint")
        self.person.ask("POST", f"/pending-hosts/{pending['id']}/approve")
        machine.wait_until_let_in()
        machine.start()
        host_id = self._come_online("db1")
        # It backs up to the repository that web1 uses already.
        repository = self._host("GET", "")["repository"]
        self.person.let_use(host_id, repository["id"])
        body = {"name": "documents", "includes": [str(self.stage.documents)], "excludes": []}
        group = self._host("POST", "/source-groups", body, host_id=host_id)
        job = self._host("POST", "/jobs", {"kind": "backup", "source_group_id": group["id"]}, host_id=host_id)
        self.finish(job["job_id"], "succeeded")
        return f"db1 backed up to web1's repository; both sides showed {fingerprint[:23]}…"

    def back_up_to_rest_server(self) -> str:
        """nas1 backs up to a rest-server that refuses deletions; to a directory where there is no rest-server."""
        server = self.stage.start_rest_server()
        host_id = self._enrol_with_token("nas1")
        location = server.location if server else str(self.stage.directory / "second repository")
        self._host(
            "PUT",
            "/repository",
            {
                "name": "nas",
                "location": location,
                "password": secrets.token_urlsafe(18),
                "username": server.username if server else "",
                "secret": server.password if server else "",
            },
            host_id=host_id,
        )
        self.finish(self._order("init", host_id=host_id), "succeeded")
        body = {"name": "documents", "includes": [str(self.stage.documents)], "excludes": []}
        group = self._host("POST", "/source-groups", body, host_id=host_id)
        job = self._host("POST", "/jobs", {"kind": "backup", "source_group_id": group["id"]}, host_id=host_id)
        self.finish(job["job_id"], "succeeded")
        return f"nas1 backed up to {'an append-only rest-server' if server else 'a directory: no rest-server here'}"

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
        self.finish(self._order("init"), "succeeded")
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
        job = self.finish(self._order("backup", "documents"), "succeeded")
        [snapshot] = self.stage.snapshots("documents")
        return f"{job['id']} made snapshot {snapshot['short_id']}"

    def cancel_one(self) -> str:
        job_id = self._order_large()
        self.person.ask("POST", f"/jobs/{job_id}/cancel")
        self.finish(job_id, "cancelled")
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
        machine = self.stage.machines["web1"]
        killed = machine.pid()
        machine.kill()
        self._check_ended_once(job_id)
        check(machine.pid() != killed, "the agent that was killed still runs")
        return "succeeded, once, after kill -9 of the agent"

    def list_snapshots(self) -> str:
        self.finish(self._order("snapshots"), "succeeded")
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
        """The repository's password may be in the files of the agents that use it; the person's is nowhere."""
        holding = self.stage.files_with(self.stage.repository_password)
        check(holding == SECRETS_FILES, f"the repository's password is in {', '.join(holding)}")
        check(not self.stage.files_with(self.password), "the person's password is in a file")
        return "only with the two agents that use it; not in the database, a log or a job"

    def stop_server(self) -> str:
        with self.person.watch("/live/fleet"):
            took = self.stage.server.stop(seconds=10)
        check(took < 3, f"the server took {took:.1f} s to stop")
        return f"SIGTERM to exit in {took:.1f} s, with three agents and a live page connected"

    # ---- what the steps share

    def _wait_until_served(self) -> None:
        def is_served() -> bool:
            if not self.stage.server.is_running():
                raise DemoFailed("the server ended right after its start")
            return self.person.is_well()

        until(is_served, seconds=30, what="the server says that it is well")

    def _host(self, method: str, path: str, body: dict[str, Any] | None = None, *, host_id: str = "") -> dict[str, Any]:
        return self.person.ask(method, f"/hosts/{host_id or self.host_id}{path}", body)

    def _enrol_with_token(self, name: str) -> str:
        minted = self.person.ask("POST", "/enrolment-tokens", {"max_uses": 1})
        machine = self.stage.machines[name]
        machine.enrol(minted["token"])
        machine.start()
        return self._come_online(name)

    def _come_online(self, name: str) -> str:
        """The id of the host that is new and online, from now on called so."""

        def fresh() -> dict[str, Any] | None:
            found = self.person.ask("GET", "/hosts")["items"]
            return next((h for h in found if h["status"] == "online" and h["id"] not in self._known), None)

        host = until(fresh, seconds=60, what=f"{name} comes online")
        self._known.add(host["id"])
        # All three are this machine and call themselves alike; people need names.
        self.person.rename(host["id"], name)
        host_id: str = host["id"]
        return host_id

    def _job(self, job_id: str) -> dict[str, Any]:
        return self.person.ask("GET", f"/jobs/{job_id}")

    def _order(self, kind: str, group: str = "", *, host_id: str = "") -> str:
        body = {"kind": kind, **({"source_group_id": self.groups[group]} if group else {})}
        job_id: str = self._host("POST", "/jobs", body, host_id=host_id)["job_id"]
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

    def finish(self, job_id: str, outcome: str) -> dict[str, Any]:
        """The job once it has ended, as it should."""

        def finished() -> dict[str, Any] | None:
            job = self._job(job_id)
            return job if job["state"] == "finished" else None

        job = until(finished, seconds=JOB_SECONDS, what=f"job {job_id} ends")
        if job["outcome"] != outcome:
            raise DemoFailed(f"job {job_id} ended as {job['outcome']}, not {outcome}: {job['reason']} {job['message']}")
        return job

    def _check_ended_once(self, job_id: str) -> None:
        self.finish(job_id, "succeeded")
        self._known_large += 1
        found = len(self.stage.snapshots("large"))
        check(found == self._known_large, f"there are {found} snapshots in place of {self._known_large}")
        same = [job for job in self._host("GET", "/jobs")["items"] if job["id"] == job_id]
        check(len(same) == 1, f"the job is listed {len(same)} times")
        check(not self.stage.locks(), "a lock remained in the repository")
