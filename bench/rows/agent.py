"""The agent of a host on which nothing happens."""

import subprocess
import sys
import time
from pathlib import Path

from bench import host
from bench.figures import Row, Target
from bench.stage import ROOT, environment, measured, serving

SETTLE_SECONDS = 5


def measure(directory: Path, *, seconds: float) -> Row:
    """Memory and processor time of a connected agent, beside the least that Python can do."""
    row = Row(
        "agent",
        f"the agent, connected and idle, over {seconds:g} s",
        "bare Python with websocket-client and a heartbeat every 30 s, in the same span",
    )
    with serving(directory, hosts=1) as (server, fleet), host.connected(directory, server) as agent:
        bare = subprocess.Popen(
            [sys.executable, "-m", "bench.bare_agent"],
            cwd=ROOT, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        try:
            assert bare.stdin is not None
            bare.stdin.write(f"{server.socket_url} {fleet[0].credential}\n")
            bare.stdin.flush()
            time.sleep(SETTLE_SECONDS)
            with measured([agent.pid]) as used, measured([bare.pid]) as best:
                time.sleep(seconds)
        finally:
            bare.kill()
            bare.communicate()
    row.add("memory", used.pss_mb, "MB", ceiling=best.pss_mb, target=Target(40))
    row.add("processor", used.cpu_percent, "% of a core", ceiling=best.cpu_percent, target=Target(0.1))
    return row
