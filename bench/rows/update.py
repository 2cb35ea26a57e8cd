"""One real agent under its guard: from the button to its hello with the new release, and what the guard adds."""

import hashlib
import statistics
import subprocess
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from bench import seed
from bench.figures import Row, Target
from bench.stage import ROOT, BenchFailed, Server, environment, serving, until
from demo.machine import Machine
from demo.releases import Releases

GUARD = ROOT / "agent" / "guard" / "rm-agent-guard"
TRIES = 20

Json = dict[str, Any]


def measure(directory: Path, *, repetitions: int) -> Row:
    """Seconds from the button to the hello with the new release, beside a plain start of the same agent."""
    row = Row(
        "update",
        f"the button of {repetitions} hosts, one after the other: real agents under the guard's supervisor",
        "the same agent under the same supervisor only starts, until it is online",
    )
    releases = Releases(directory / "releases", environment=environment)
    before, after = releases.make("0.1.0", 1), releases.make("0.2.0", 2)
    machines: list[Machine] = []
    host_ids: list[str] = []
    starts, attempts, orders = [], [], []
    with serving(directory, prepare=lambda data_dir: releases.import_into(data_dir, before, "--promote"), hosts=0) as (
        server,
        _,
    ):
        try:
            for number in range(repetitions):
                name = f"host-{number}"
                machines.append(Machine(name, directory=directory, base_url=server.url, environment=environment))
                host_ids.append(_come_online(server, machines[-1]))
            releases.import_into(server.data_dir, after, "--promote")
            for machine, host_id in zip(machines, host_ids, strict=True):
                starts.append(_start(server, machine, host_id))
                took, attempt = _press(server, host_id)
                orders.append(took)
                attempts.append(attempt)
        finally:
            for machine in machines:
                machine.stop(seconds=15)
    row.add(
        "button to hello", statistics.median(orders), "s", ceiling=statistics.median(starts), target=Target(3)
    )  # fmt: skip
    row.add("the longest of them", max(orders), "s", ceiling=max(starts))
    for name, seconds in _phases(attempts).items():
        row.add(f"of it {name}", seconds, "s")
    plain, counted, nothing = _guard(directory, after / "rm-agent")
    row.add("guard's check before a start", plain, "ms", ceiling=nothing, target=Target(50))
    row.add("guard's check during a trial", counted, "ms", ceiling=nothing, target=Target(50))
    row.add("keyset and manifest verified", _verification(after), "ms", target=Target(50))
    row.notes.append(
        "The guard's ceiling is a shell that does nothing; during a trial the check hashes the agent's file and makes "
        "its count of starts durable. Verified are four signatures, by the agent's own Ed25519 in plain Python."
    )
    return row


def _come_online(server: Server, machine: Machine) -> str:
    """Enrol this host and have it say hello for the first time; gives its id."""
    # Not before the host before it is online: the same machine with the same token would be that host again.
    machine.enrol(seed.ENROLMENT_TOKEN)
    known = {host["id"] for host in server.ask("GET", "/hosts")["items"] if host["status"] == "online"}

    def fresh() -> list[str]:
        found = server.ask("GET", "/hosts")["items"]
        return [host["id"] for host in found if host["status"] == "online" and host["id"] not in known]

    machine.start()
    until(fresh, seconds=30, what=f"{machine.name} comes online")
    return fresh()[0]


def _start(server: Server, machine: Machine, host_id: str) -> float:
    """Seconds from the start of the supervisor until the server has the agent's hello."""
    machine.stop(seconds=15)
    until(lambda: _host(server, host_id)["status"] != "online", seconds=10, what=f"{machine.name} goes offline")
    begun = time.monotonic()
    machine.start()
    until(lambda: _host(server, host_id)["status"] == "online", seconds=30, what=f"{machine.name} comes online")
    return time.monotonic() - begun


def _press(server: Server, host_id: str) -> tuple[float, Json]:
    """Seconds from the button to the hello at the target, and the attempt as it was then."""
    begun = time.monotonic()
    path = f"/jobs/{server.ask('POST', f'/hosts/{host_id}/update')['attempt_id']}"

    def said_hello() -> bool:
        attempt = server.ask("GET", path)["update"]
        if attempt["state"] not in ("queued", "dispatched", "running", "soaking", "succeeded"):
            raise BenchFailed(f"the update ended as {attempt['state']}: {attempt['message']}")
        return attempt["state"] in ("soaking", "succeeded")

    until(said_hello, seconds=60, what="the host says hello with the next release")
    took = time.monotonic() - begun
    attempt: Json = server.ask("GET", path)["update"]
    return took, attempt


def _host(server: Server, host_id: str) -> Json:
    return server.ask("GET", f"/hosts/{host_id}")


def _phases(attempts: list[Json]) -> dict[str, float]:
    """The median seconds of each part, from what the server noted as it happened."""
    parts: dict[str, list[float]] = {"order to swap": [], "swap to hello": []}
    for attempt in attempts:
        at = {event["phase"] or event["state"]: datetime.fromisoformat(event["at"]) for event in attempt["events"]}
        begun = datetime.fromisoformat(attempt["events"][0]["at"])
        parts["order to swap"].append((at["swapping"] - begun).total_seconds())
        parts["swap to hello"].append((at["trial"] - at["swapping"]).total_seconds())
    return {name: statistics.median(seconds) for name, seconds in parts.items()}


def _guard(directory: Path, artifact: Path) -> tuple[float, float, float]:
    """Milliseconds of a check without a trial, of one that counts a start, and of a shell that does nothing."""
    root = directory / "guarded"
    (root / "bin").mkdir(parents=True)
    (root / "state" / "update").mkdir(parents=True)
    program, trial = root / "bin" / "rm-agent", root / "state" / "update" / "trial"
    program.write_bytes(artifact.read_bytes())
    to = hashlib.sha256(program.read_bytes()).hexdigest()
    check = ["/bin/sh", str(GUARD), "--root", str(root), "check"]
    taken: dict[str, list[float]] = {"plain": [], "counted": [], "nothing": []}
    # In turns, so that whatever else goes on here is in all of them alike.
    for _ in range(TRIES):
        taken["nothing"].append(_milliseconds(lambda: _run(["/bin/sh", "-c", "true"])))
        trial.unlink(missing_ok=True)
        taken["plain"].append(_milliseconds(lambda: _run(check)))
        trial.write_text(f"attempt=X\nfrom=none\nto={to}\nboots=0\nlimit_s=60\ncommit_s=600\n")
        taken["counted"].append(_milliseconds(lambda: _run(check)))
        if "boots=1" not in trial.read_text():
            raise BenchFailed("the guard did not count the start")
    return tuple(statistics.median(taken[name]) for name in ("plain", "counted", "nothing"))  # type: ignore[return-value]


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=30)


def _milliseconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) * 1000


def _verification(release_directory: Path) -> float:
    """Milliseconds to verify keyset and manifest with the library that the agent bundles."""
    from agent.update.verify import check_signature
    from rm.shared import release
    from rm.shared.minisign import PublicKey

    texts = {path.name: path.read_bytes() for path in release_directory.iterdir() if path.suffix in (".json", ".pub")}
    signed = {path.name: path.read_text() for path in release_directory.glob("*.minisig")}
    roots = [PublicKey.parse(texts["root.pub"].decode())]

    def verify() -> None:
        keyset = release.verify_keyset(texts["keyset.json"], signed["keyset.json.minisig"], roots, check_signature)
        release.verify_manifest(texts["manifest.json"], signed["manifest.json.minisig"], keyset, check_signature)

    return statistics.median(_milliseconds(verify) for _ in range(TRIES))
