"""What the demo shows of updates: one host, the fleet, a server that dies meanwhile, a release that is bad."""

from typing import Any

from demo.person import Person
from demo.stage import Stage
from demo.waiting import check, until
from rm.shared.words import counted

NOW, NEXT, BAD = ("0.1.0", 1), ("0.2.0", 2), ("0.3.0", 3)
# The last in the order, so that there is something to roll back.
UNLUCKY = "web1"
# Everywhere else it works; there it ends before it has done anything.
BAD_CODE = f"import sys\nif '/{UNLUCKY}' in ' '.join(sys.argv) and sys.argv[-1] == 'run':\n    sys.exit(1)\n"
# A silent host is given up after 30 s in place of 90, which scales the guard's 60 s too.
QUICK = {"RM_UPDATE_TIMEOUT_SECONDS": "30", "RM_FLEET_HOST_TIMEOUT_SECONDS": "35"}
SOAK_SECONDS = 2
OPEN = ("planned", "running", "cancelling")


class Updating:
    """The steps; each raises DemoFailed, or returns one line about what happened."""

    def __init__(self, stage: Stage, person: Person) -> None:
        self._stage = stage
        self._person = person

    def make_current(self, release: tuple[str, int], *, code: str = "") -> str:
        """Build, sign and import a release, and make it the one that hosts are to run."""
        made = self._stage.releases.make(*release, code=code)
        self._stage.import_release(made)
        found = next(one for one in self._releases() if one["version"] == release[0])
        self._person.ask("POST", f"/releases/{found['id']}/promote")
        return f"{release[0]}, sequence {release[1]}, is current"

    def update_one(self) -> str:
        host = self._host("web1")
        ordered = self._person.ask("POST", f"/hosts/{host['id']}/update")
        again = self._person.ask("POST", f"/hosts/{host['id']}/update")
        check(ordered == again, "pressing twice made two attempts")
        job = self._ended(ordered["attempt_id"])
        check(job["update"]["state"] == "succeeded", f"the update ended as {job['update']}")
        check(job["update"]["proven"], "the host did not prove what it runs")
        check(self._host("web1")["agent_seq"] == NEXT[1], "web1 does not run the next release")
        return f"web1 {NOW[0]} → {NEXT[0]}, proven by the hash of what runs"

    def update_fleet(self) -> str:
        """A canary, then the rest; the server is killed while the second host updates."""
        started = self._start(canaries=1)
        verdicts = {self._name(row["host_id"]): row["verdict"] for row in started["hosts"]}
        check(verdicts["web1"] == "current", f"the plan says {verdicts}")
        until(lambda: self._count(started["id"], "succeeded") >= 1, seconds=90, what="the canary is updated")
        self._stage.kill_server()
        self._stage.start_server()
        until(self._person.is_well, seconds=30, what="the server says that it is well")
        found = self._settled(started["id"])
        check(found["state"] == "completed", f"the fleet update ended as {found['state']}")
        check(self._versions() == dict.fromkeys(self._stage.machines, NEXT[0]), f"the hosts run {self._versions()}")
        return "canary, then the rest; the server was killed in the middle and nothing was updated twice"

    def halt_at_a_bad_release(self) -> str:
        """On one host the release does not start: the guard puts the earlier one back, and the fleet update halts."""
        started = self._start(canaries=0)
        found = self._settled(started["id"])
        check(found["state"] == "halted", f"the fleet update ended as {found['state']}")
        states = {self._name(row["host_id"]): row["state"] for row in found["hosts"]}
        check(states[UNLUCKY] == "failed", f"the hosts are {states}")
        unlucky = next(row for row in found["hosts"] if self._name(row["host_id"]) == UNLUCKY)
        job = self._ended(unlucky["attempt_id"])
        check(job["update"]["state"] == "rolled_back", f"the attempt of {UNLUCKY} ended as {job['update']}")
        until(lambda: self._host(UNLUCKY)["status"] == "online", seconds=30, what=f"{UNLUCKY} is online again")
        check(self._host(UNLUCKY)["agent_version"] == NEXT[0], f"{UNLUCKY} does not run the earlier release")
        raised = [alert["kind"] for alert in self._person.ask("GET", "/alerts")["items"] if alert["state"] == "raised"]
        check({"fleet_update_halted", "update_failed"} <= set(raised), f"the alerts are {raised}")
        updated = counted(list(states.values()).count("succeeded"), "host")
        return f"halted at {UNLUCKY}, which returned by itself; {updated} had been updated"

    def roll_back_the_others(self) -> str:
        halted = next(one for one in self._person.ask("GET", "/fleet-updates")["items"] if one["state"] == "halted")
        self._person.ask("POST", f"/fleet-updates/{halted['id']}/rollback", {"reason": "does not start everywhere"})
        until(
            lambda: set(self._versions().values()) == {NEXT[0]},
            seconds=180,
            what=f"every host runs {NEXT[0]} again (they run {self._versions()})",
        )
        return f"every host runs {NEXT[0]} again"

    # ---- what the steps share

    def _start(self, **options: Any) -> dict[str, Any]:
        return self._person.ask("POST", "/fleet-updates", {"soak_seconds": SOAK_SECONDS, **options})

    def _fleet_update(self, fleet_update_id: str) -> dict[str, Any]:
        return self._person.ask("GET", f"/fleet-updates/{fleet_update_id}")

    def _settled(self, fleet_update_id: str) -> dict[str, Any]:
        def settled() -> dict[str, Any] | None:
            found = self._fleet_update(fleet_update_id)
            return found if found["state"] not in OPEN else None

        return until(settled, seconds=240, what="the fleet update ends or halts")

    def _count(self, fleet_update_id: str, state: str) -> int:
        return sum(row["state"] == state for row in self._fleet_update(fleet_update_id)["hosts"])

    def _ended(self, job_id: str) -> dict[str, Any]:
        def ended() -> dict[str, Any] | None:
            job = self._person.ask("GET", f"/jobs/{job_id}")
            return job if job["state"] == "finished" else None

        return until(ended, seconds=180, what=f"the attempt {job_id} ends")

    def _releases(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._person.ask("GET", "/releases")["items"]
        return found

    def _hosts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._person.ask("GET", "/hosts")["items"]
        return found

    def _host(self, name: str) -> dict[str, Any]:
        return next(host for host in self._hosts() if host["name"] == name)

    def _name(self, host_id: str) -> str:
        return next(str(host["name"]) for host in self._hosts() if host["id"] == host_id)

    def _versions(self) -> dict[str, str]:
        return {host["name"]: host["agent_version"] for host in self._hosts()}
