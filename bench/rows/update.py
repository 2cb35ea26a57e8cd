"""One real agent under its guard: from the button to its hello with the new release, and what the guard adds."""

import hashlib
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

from bench import seed
from bench.figures import Row, Target
from bench.stage import ROOT, BenchFailed, environment, serving, until
from demo.machine import Machine
from demo.releases import Releases

GUARD = ROOT / "agent" / "guard" / "rm-agent-guard"
ENDED = ("failed", "rolled_back", "refused", "cancelled", "lost")
CHECKS = 20


def measure(directory: Path, *, repetitions: int) -> Row:
    """Seconds from the order to the hello at the target, beside a plain restart of the same agent."""
    row = Row(
        "update",
        f"one update of a real agent under the guard's supervisor, {repetitions} times",
        "the same agent killed with kill -9, until it is online again",
    )
    releases = Releases(directory / "releases", environment=environment)
    orders, restarts = [], []
    with serving(directory, hosts=0) as (server, _):
        releases.import_into(server.data_dir, releases.make("0.1.0", 1), "--promote")
        machine = Machine("host", directory=directory, base_url=server.url, environment=environment)
        try:
            machine.enrol(seed.ENROLMENT_TOKEN)
            machine.start()
            host = _online(server)
            for number in range(repetitions):
                releases.import_into(server.data_dir, releases.make(f"0.{number + 2}.0", number + 2), "--promote")
                orders.append(_update(server, host["id"]))
                restarts.append(_restart(server, machine, host["id"]))
        finally:
            machine.stop(seconds=15)
    row.add(
        "button to hello", statistics.median(orders), "s", ceiling=statistics.median(restarts), target=Target(3)
    )  # fmt: skip
    plain, counted, nothing = _guard(directory)
    row.add("guard's check before a start", plain, "ms", ceiling=nothing, target=Target(50))
    row.add("guard's check during a trial", counted, "ms", ceiling=nothing, target=Target(50))
    row.add("keyset and manifest verified", _verification(directory / "releases"), "ms", target=Target(50))
    row.notes.append(
        "The guard's ceiling is `sh -c true`. Verification is the agent's own, in pure Python: four signatures."
    )
    return row


def _update(server: Any, host_id: str) -> float:
    begun = time.monotonic()
    order = server.ask("POST", "/fleet-updates", {"host_ids": [host_id], "soak_seconds": 0})
    path = f"/fleet-updates/{order['id']}"

    def said_hello() -> bool:
        [row] = server.ask("GET", path)["hosts"]
        if row["state"] in ("failed", "skipped", "excluded"):
            raise BenchFailed(f"the update ended as {row}")
        return row["state"] in ("soaking", "succeeded")

    until(said_hello, seconds=60, what="the host says hello with the next release")
    took = time.monotonic() - begun
    until(lambda: server.ask("GET", path)["state"] == "completed", seconds=60, what="the update is committed")
    return took


def _restart(server: Any, machine: Machine, host_id: str) -> float:
    before = server.ask("GET", f"/hosts/{host_id}")["connected_at"]
    begun = time.monotonic()
    machine.kill()

    def is_back() -> bool:
        host = server.ask("GET", f"/hosts/{host_id}")
        return bool(host["status"] == "online" and host["connected_at"] != before)

    until(is_back, seconds=60, what="the agent is online again")
    return time.monotonic() - begun


def _online(server: Any) -> dict[str, Any]:
    def online() -> bool:
        return any(host["status"] == "online" for host in server.ask("GET", "/hosts")["items"])

    until(online, seconds=30, what="the agent comes online")
    host: dict[str, Any] = server.ask("GET", "/hosts")["items"][0]
    return host


def _guard(directory: Path) -> tuple[float, float, float]:
    """Milliseconds of a check without a trial, of one that counts a start, and of a shell that does nothing."""
    root = directory / "guarded"
    (root / "bin").mkdir(parents=True)
    (root / "state" / "update").mkdir(parents=True)
    program = root / "bin" / "rm-agent"
    program.write_bytes((directory / "host" / "bin" / "rm-agent").read_bytes())
    check = ["/bin/sh", str(GUARD), "--root", str(root), "check"]
    plain = _milliseconds(check)
    to = hashlib.sha256(program.read_bytes()).hexdigest()
    trial = root / "state" / "update" / "trial"
    counted = []
    for _ in range(CHECKS):
        trial.write_text(f"attempt=X\nfrom=none\nto={to}\nboots=0\nlimit_s=60\ncommit_s=600\n")
        counted.append(_milliseconds(check, times=1))
    return plain, statistics.median(counted), _milliseconds(["/bin/sh", "-c", "true"])


def _milliseconds(command: list[str], times: int = CHECKS) -> float:
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, timeout=30)
        taken.append((time.perf_counter() - begun) * 1000)
    return statistics.median(taken)


def _verification(releases: Path) -> float:
    """Milliseconds to verify keyset and manifest with the library that the agent bundles."""
    from agent.update.verify import check_signature
    from rm.shared import release
    from rm.shared.minisign import PublicKey

    made = releases / "0.1.0"
    roots = [PublicKey.parse((made / "root.pub").read_text())]
    taken = []
    for _ in range(CHECKS):
        begun = time.perf_counter()
        keyset = release.verify_keyset(
            (made / "keyset.json").read_bytes(), (made / "keyset.json.minisig").read_text(), roots, check_signature
        )
        release.verify_manifest(
            (made / "manifest.json").read_bytes(), (made / "manifest.json.minisig").read_text(), keyset, check_signature
        )
        taken.append((time.perf_counter() - begun) * 1000)
    return statistics.median(taken)
