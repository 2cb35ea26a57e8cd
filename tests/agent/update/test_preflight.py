"""What is looked at before an update begins; each finding has its code, a measured value and how to mend it."""

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.platform import replace as platform
from agent.update import preflight
from agent.update.ending import Refused
from agent.update.preflight import Host


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host that is well: an agent under the guard's supervisor, below a directory of its own."""
    program = tmp_path / "bin" / "rm-agent"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    state = tmp_path / "state"
    state.mkdir()
    return Host(
        program=program, artifact=program, state=state, init="supervisor", server="https://backup.example.org",
        guard_version="2", has_own_root=True,
    )  # fmt: skip


def refusal(action: Callable[[], None]) -> tuple[str, str]:
    with pytest.raises(Refused) as found:
        action()
    assert found.value.phase == "preflight"
    return found.value.reason, found.value.detail


def test_a_host_that_is_well_is_left_as_it_was(host: Host) -> None:
    preflight.look(host)

    assert os.listdir(host.program.parent) == ["rm-agent"]


def test_an_agent_from_a_source_tree_is_not_replaced(host: Host) -> None:
    assert refusal(lambda: preflight.look(replace(host, artifact=None)))[0] == "not_replaceable"


def test_an_agent_that_is_not_the_one_the_guard_looks_after_is_not_replaced(host: Host) -> None:
    other = host.program.with_name("other")
    other.touch()

    reason, text = refusal(lambda: preflight.look(replace(host, artifact=other)))

    assert reason == "not_replaceable"
    assert str(other) in text and str(host.program) in text


def test_an_agent_behind_a_link_is_the_file_it_points_to(host: Host) -> None:
    link = host.state / "rm-agent"
    link.symlink_to(host.program)

    preflight.look(replace(host, artifact=link))


def test_without_a_supervisor_nobody_would_bring_it_back(host: Host) -> None:
    reason, text = refusal(lambda: preflight.look(replace(host, init="none")))

    assert reason == "no_supervisor"
    assert "install.sh --repair" in text


@pytest.mark.parametrize(
    ("restart", "trial", "word"),
    [("always", "active", ""), ("no", "active", "Restart=no"), ("always", "inactive", "inactive")],
)
def test_systemd_must_start_it_again_and_watch_the_trial(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restart: str, trial: str, word: str
) -> None:
    tool = tmp_path / "systemctl"
    tool.write_text(f'#!/bin/sh\n[ "$1" = show ] && echo {restart} && exit 0\necho {trial}; [ {trial} = active ]\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    assert word in platform.supervision_problem("systemd")
    assert bool(platform.supervision_problem("systemd")) is bool(word)


@pytest.mark.parametrize(("tool", "owner"), [("dpkg", "dpkg"), ("rpm", "rpm")])
def test_what_a_package_manager_owns_is_left_to_it(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str, owner: str
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("dpkg", "rpm"):
        (tools / name).write_text(f"#!/bin/sh\n[ {name} = {tool} ]\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")

    reason, text = refusal(lambda: preflight.look(host))

    assert (reason, owner in text) == ("managed_by_package", True)


def test_an_agent_in_a_containers_image_is_refused_with_the_reason(
    host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mark = tmp_path / "containerenv"
    mark.touch()
    monkeypatch.setattr(platform, "_CONTAINER_MARKS", (str(mark),))
    monkeypatch.setattr(platform.os, "stat", lambda path: os.lstat("/"))

    reason, text = refusal(lambda: preflight.look(replace(host, has_own_root=False)))

    assert reason == "in_container"
    assert str(mark) in text and "image" in text
    assert platform.container_image(host.program, "systemd") == ""


@pytest.mark.parametrize(("guard", "wanted", "is_refused"), [("2", 2, False), ("2", 3, True), ("", 1, True)])
def test_a_guard_that_is_too_old_is_named_with_the_line_that_mends_it(
    host: Host, guard: str, wanted: int, is_refused: bool
) -> None:
    check = replace(host, guard_version=guard)
    if not is_refused:
        preflight.check_guard(check, wanted)
        return

    reason, text = refusal(lambda: preflight.check_guard(check, wanted))

    assert reason == "guard_too_old"
    assert "curl -fsS https://backup.example.org/install.sh | sudo sh -s -- --repair" in text


def mount(**changed: object) -> platform.Mount:
    known = {"free_bytes": 10**12, "free_names": 10**6, "is_read_only": False, "is_sandboxed": False,
             "runs_programs": True}  # fmt: skip
    return platform.Mount(**(known | changed))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "reason", "words"),
    [
        ({"free_bytes": 63 * 1024 * 1024}, "no_space", ("63 MiB", "74 MiB")),
        ({"free_names": 3}, "no_inodes", ("3 more files", "df -i")),
        ({"is_read_only": True, "is_sandboxed": True}, "read_only", ("ProtectSystem=", "ReadWritePaths=")),
        ({"is_read_only": True}, "read_only", ("mount -o remount,rw",)),
        ({"runs_programs": False}, "no_exec", ("noexec",)),
    ],
)
def test_a_file_system_that_does_not_do_is_named_with_what_was_measured(
    host: Host, monkeypatch: pytest.MonkeyPatch, changed: dict[str, object], reason: str, words: tuple[str, ...]
) -> None:
    monkeypatch.setattr(platform, "mount_of", lambda directory: mount(**changed))

    def both() -> None:
        preflight.look(host)
        preflight.check_space(host, 5 * 1024 * 1024)

    found, text = refusal(both)

    assert found == reason
    if reason != "no_space":
        assert all(word in text for word in words), text


def test_twice_the_artifact_and_64_mib_must_be_free(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    enough = 2 * 5_000_000 + 64 * 1024 * 1024
    monkeypatch.setattr(platform, "mount_of", lambda directory: mount(free_bytes=enough))
    preflight.check_space(host, 5_000_000)

    monkeypatch.setattr(platform, "mount_of", lambda directory: mount(free_bytes=enough - 1))

    assert refusal(lambda: preflight.check_space(host, 5_000_000))[0] == "no_space"


def test_a_look_that_hangs_is_ended(host: Host) -> None:
    never = threading.Event()
    try:
        look = lambda: preflight.in_time(lambda: never.wait() and None, wait=lambda seconds: None, seconds=0.3)  # noqa: E731

        assert refusal(look)[0] == "preflight_timeout"
    finally:
        never.set()


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts small file systems in memory."""
    places: list[Path] = []

    def make(options: str) -> Path:
        place = tmp_path / f"mount-{len(places)}"
        place.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size=80m,{options}", "none", str(place)], capture_output=True, check=False
        )
        if done.returncode != 0:
            pytest.skip("nothing can be mounted here")
        places.append(place)
        return place

    yield make
    for place in places:
        subprocess.run(["umount", "-l", str(place)], check=False)


@pytest.mark.root
@pytest.mark.parametrize(
    ("options", "reason"), [("noexec", "no_exec"), ("ro", "read_only"), ("nr_inodes=3", "no_inodes")]
)
def test_real_file_systems_that_do_not_do(
    host: Host, mounted: Callable[[str], Path], options: str, reason: str
) -> None:
    place = mounted("rw" if options == "ro" else options)
    program = place / "rm-agent"
    shutil.copy(host.program, program)
    if options == "ro":
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)

    def both() -> None:
        preflight.look(replace(host, program=program, artifact=program))

    assert refusal(both)[0] in (reason, "no_space" if reason == "no_inodes" else reason)


@pytest.mark.root
def test_a_real_sandbox_is_told_from_a_read_only_disk(host: Host, mounted: Callable[[str], Path]) -> None:
    place = mounted("rw")
    inner = place / "bin"
    inner.mkdir()
    subprocess.run(["mount", "--bind", str(inner), str(inner)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(inner)], check=True)

        found = platform.mount_of(inner)

        assert (found.is_read_only, found.is_sandboxed) == (True, True)
    finally:
        subprocess.run(["umount", "-l", str(inner)], check=False)
