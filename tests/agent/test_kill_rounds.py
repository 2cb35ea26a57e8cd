"""kill -9 of agent and restic at random points, with hooks: no job lost, none doubled, no lock left behind."""

import json
import os
import random
import signal
import threading
from collections import Counter
from pathlib import Path

import pytest

from agent.platform import linux
from rm.shared.protocol import CommandRun, JobFinished, SourceGroupSpec
from tests.agent.conftest import Rig, until
from tests.restserver import tools

ROUNDS = int(os.environ.get("RM_KILL_ROUNDS", "20"))
VICTIMS = ("agent", "restic", "both")
LATEST_SECONDS = 4.0
WAIT_SECONDS = 120.0

pytestmark = pytest.mark.restic


class Rounds:
    """The rig whose agent and restic are killed again and again."""

    def __init__(self, rig: Rig, *, seed: int) -> None:
        self.rig = rig
        self.random = random.Random(seed)
        self.killed: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.trouble: list[str] = []
        rig.paths.hooks.mkdir()
        for name in ("pre", "post"):
            path = rig.paths.hooks / name
            path.write_text(f'#!/bin/sh\necho "{name} $RM_JOB_ID" >> {rig.base}/hooks.log\nsleep 0.2\n')
            path.chmod(0o755)
        restic = rig.base / "bin" / "restic"
        restic.parent.mkdir(exist_ok=True)
        restic.unlink(missing_ok=True)
        slow = f'exec {rig.program} "$@" --limit-upload 1024'
        restic.write_text(f'#!/bin/sh\nif [ "$1" = backup ]; then {slow}; fi\nexec {rig.program} "$@"\n')
        restic.chmod(0o755)
        self.starts = 0
        self.begin()

    def begin(self) -> None:
        self.agent = self.rig.spawn()
        self.starts += 1

    def one(self, number: int) -> None:
        """One job, one kill, one true end."""
        group = SourceGroupSpec(name=f"group{number}", pre_hook="pre", post_hook="post")
        order = self.rig.order(source_group=group.name, group=group)
        (self.rig.base / "source" / "data").write_bytes(self.random.randbytes(1_500_000))
        self.rig.server.connected(self.starts).send(order)
        threading.Event().wait(self.random.uniform(0, LATEST_SECONDS))
        self.kill(self.random.choice(VICTIMS), order)
        if self.agent.poll() is not None:
            self.begin()
            self.rig.server.connected(self.starts).send(order)
        result = self.rig.server.wait_for("job.finished", WAIT_SECONDS, job_id=order.job_id).payload
        self.look(order, result)

    def kill(self, victim: str, order: CommandRun) -> None:
        pid_file = self.rig.paths.jobs / order.job_id / "pid"
        words = pid_file.read_text().split() if pid_file.exists() else []
        has_restic = bool(words) and linux.start_time(int(words[0])) == words[1]
        if victim in ("agent", "both") or not has_restic:
            self.agent.kill()
            self.agent.wait()
        if victim in ("restic", "both") and has_restic:
            os.kill(int(words[0]), signal.SIGKILL)
        self.killed[victim if has_restic else "agent"] += 1

    def look(self, order: CommandRun, result: JobFinished) -> None:
        rig, job = self.rig, order.job_id
        self.outcomes[f"{result.outcome} {result.reason}".strip()] += 1
        ends = {str(message.payload) for message in rig.server.all("job.finished", job_id=job)}
        listed = json.loads(rig.restic("snapshots", "--json", "--no-lock", "--tag", order.source_group).stdout)
        hooks = self.hooks(job)
        is_saved = result.outcome in ("succeeded", "warnings")
        if len(ends) != 1:
            self.trouble.append(f"{job}: {len(ends)} different ends")
        if len(listed) > 1 or (is_saved and len(listed) != 1):
            self.trouble.append(f"{job}: {result.outcome} with {len(listed)} snapshots")
        if rig.locks():
            self.trouble.append(f"{job}: {len(rig.locks())} locks left after {result.outcome} {result.reason}")
        if hooks["pre"] > 1 or (hooks["pre"] and not hooks["post"]) or (is_saved and not hooks["pre"]):
            self.trouble.append(f"{job}: hooks {dict(hooks)} with {result.outcome} {result.reason}")
        numbers = {line.n for m in rig.server.all("job.log", job_id=job) for line in m.payload.lines}
        if sorted(numbers) != list(range(1, len(numbers) + 1)):
            self.trouble.append(f"{job}: a gap in the log")

    def hooks(self, job_id: str) -> Counter[str]:
        path = Path(self.rig.base / "hooks.log")
        lines = path.read_text().splitlines() if path.exists() else []
        return Counter(line.split()[0] for line in lines if line.endswith(job_id))


@pytest.mark.parametrize(("which", "seed"), [("installed", 5), ("newer", 55)])
@pytest.mark.timeout(max(600, ROUNDS * 30))
def test_no_kill_loses_or_doubles_a_job_or_leaves_a_lock(
    rig: Rig, repository: Path, capsys: pytest.CaptureFixture[str], which: str, seed: int
) -> None:
    rig.use(tools.program(which))
    rounds = Rounds(rig, seed=seed)

    for number in range(ROUNDS // 2):
        rounds.one(number)

    with capsys.disabled():
        print(
            f"\n{which} restic, {ROUNDS // 2} rounds: killed {dict(rounds.killed)}, ends {dict(rounds.outcomes)},"
            f" troubles {len(rounds.trouble)}"
        )
    assert rounds.trouble == []
    until(lambda: rig.locks() == [])
