"""A sample of the kill sweep; `make sweep` does all of it."""

from pathlib import Path

import pytest

from tests.sweep import faults, kill_sweep
from tests.sweep.faults import Point

SAMPLE = 40


@pytest.mark.timeout(900)
def test_no_fault_at_any_call_leaves_a_host_without_an_agent(capfd: pytest.CaptureFixture[str]) -> None:
    if not faults.is_usable():
        pytest.skip("needs strace, and to be allowed to trace")
    said: list[str] = []

    code = kill_sweep.main(["--sample", str(SAMPLE)], say=said.append)

    with capfd.disabled():
        print(f"\n{said[0]}")
    assert code == 0, capfd.readouterr().err
    assert said[0].endswith(" points, 0 bricked")
    assert int(said[0].split()[2]) > SAMPLE / 2


def test_every_kind_of_fault_is_put_where_it_can_happen(tmp_path: Path) -> None:
    trace = f'11 rename("{tmp_path}/bin/a.new", "{tmp_path}/bin/a") = 0\n12 fsync(3<{tmp_path}/bin>) = 0\n'

    found = faults.points("part", trace, ["bin/a", "bin"], tmp_path, at_most=4)

    assert Point("part", "bin/a", "rename", 1, "signal=KILL") in found
    assert Point("part", "bin/a", "rename", 1, "error=EROFS") in found
    assert Point("part", "bin", "fsync", 1, "error=EIO") in found
    assert Point("part", "bin", "fsync", 1, "error=EPERM") not in found
