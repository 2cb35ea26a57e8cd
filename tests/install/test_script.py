"""install.sh as the server hands it out, run for real below a directory, under each shell that is here."""

import hashlib
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import requests

from rm.agent_link import install
from tests.install.server import ROOT, Server, shells, until

pytestmark = pytest.mark.timeout(240)

GUARD = ROOT / "agent" / "guard" / "rm-agent-guard"


def script(server: Server) -> str:
    return install.script(base_url=server.base_url)


def run(
    text: str, directory: Path, *options: str, shell: str = "sh", **settings: str
) -> subprocess.CompletedProcess[str]:
    """The script from a pipe, as the line gives it."""
    command = ["busybox", "sh"] if shell == "busybox" else [shell]
    environ = {"PATH": os.environ["PATH"], "HOME": "/", "RM_INSTALL_ROOT": str(directory)}
    lines = "".join(f"{name}={value}\n" for name, value in settings.items())
    return subprocess.run(
        [*command, "-s", "--", *options], input=lines + text, env=environ, capture_output=True, text=True, timeout=140,
        check=False,
    )  # fmt: skip


def status(directory: Path) -> str:
    program = [shutil.which("python3") or "python3", str(directory / "bin" / "rm-agent"), "--root", str(directory)]
    return subprocess.run([*program, "status"], capture_output=True, text=True, timeout=60, check=False).stdout


@pytest.mark.parametrize("shell", shells())
def test_it_installs_runs_again_repairs_and_removes(server: Server, host_directory: Path, shell: str) -> None:
    first = run(script(server), host_directory, shell=shell, RM_TOKEN=server.line()[1])
    pid = (host_directory / "bin" / "guard.pid").read_text()
    again = run(script(server), host_directory, shell=shell)
    unchanged = (host_directory / "bin" / "guard.pid").read_text()
    (host_directory / "bin" / "rm-agent").write_text("garbage")
    (host_directory / "bin" / "rm-agent-guard").write_text(
        GUARD.read_text().replace("GUARD_VERSION=2", "GUARD_VERSION=1")
    )
    repaired = run(script(server), host_directory, "--repair", shell=shell)
    connected, guards = status(host_directory), guards_of(host_directory)
    removed = run(script(server), host_directory, "--uninstall", shell=shell)

    assert first.returncode == again.returncode == repaired.returncode == removed.returncode == 0, (
        first, again, repaired, removed,
    )  # fmt: skip
    assert "nothing was changed" in again.stdout
    assert unchanged == pid
    assert "connected since" in connected
    assert guards == ["2"]
    assert list(host_directory.rglob("*")) == []


def test_what_the_owner_allows_holds_for_later_runs_and_hooks_have_a_place(
    server: Server, host_directory: Path
) -> None:
    hooks, settings = host_directory / "etc" / "hooks.d", host_directory / "etc" / "agent.toml"
    options = ("--allow-hooks", "--allow-restore-in-place")
    first = run(script(server), host_directory, *options, RM_TOKEN=server.line()[1])
    mode = hooks.stat().st_mode & 0o7777
    (hooks / "dump").write_text("#!/bin/sh\n")
    (hooks / "dump").chmod(0o755)

    later = run(script(server), host_directory, "--repair")
    in_the_end = settings.read_text().splitlines()
    removed = run(script(server), host_directory, "--uninstall")

    assert first.returncode == later.returncode == removed.returncode == 0, (first, later, removed)
    assert {'hooks = "server"', "restore_in_place = true"} <= set(in_the_end)
    assert mode == 0o755
    assert {path.name for path in host_directory.rglob("*")} == {"etc", "hooks.d", "dump"}, "the owner's hooks stay"
    assert f"Left {settings.parent} with 1 entry" in removed.stdout


@pytest.mark.parametrize(
    ("allowed", "lines"),
    [
        ("hooks= in_place=", ["ProtectSystem=strict", "ProtectHome=read-only", "ReadWritePaths=/usr/local/lib/r"]),
        ("hooks=local in_place=false", ["ProtectSystem=strict", "ProtectHome=read-only", "ReadWritePaths=/usr/lo"]),
        ("hooks=server in_place=", ["ProtectSystem=full", "ReadWritePaths=/usr/local/lib/restic-manager"]),
        ("hooks=server in_place=true", []),
        ("hooks= in_place=true", []),
    ],
)
def test_the_unit_lets_be_written_what_the_owner_allows(server: Server, allowed: str, lines: list[str]) -> None:
    functions, call, _ = script(server).rpartition('\nrm_main "$@"')

    done = subprocess.run(
        ["sh", "-s"], input=f"{functions}\nrm_settings\n{allowed}\nrm_files_lines\n", env={"PATH": os.environ["PATH"]},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip

    assert call
    said = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    assert [line[: len(wanted)] for line, wanted in zip(said, lines, strict=True)] == lines


def test_another_program_that_is_installed_ends_the_trial_of_an_update(server: Server, host_directory: Path) -> None:
    run(script(server), host_directory, RM_TOKEN=server.line()[1])
    program, trial = host_directory / "bin" / "rm-agent", host_directory / "state" / "update" / "trial"
    shipped = program.read_bytes()
    program.with_name("rm-agent.old").write_bytes(shipped)
    program.write_bytes(shipped + b"#")
    trial.write_text(f"attempt=X\nfrom={sha256(b'')}\nto={sha256(shipped + b'#')}\nboots=3\nlimit_s=60\n")

    run(script(server), host_directory)

    assert program.read_bytes() == shipped
    assert not trial.exists()
    assert not (trial.parent / "revert_failed").exists()
    assert "connected since" in status(host_directory)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def guards_of(directory: Path) -> list[str]:
    """Which version of the guard each agent below this directory was started by."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            command = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            if command[2:3] == [str(directory / "bin" / "rm-agent").encode()]:
                environ = (entry / "environ").read_bytes().split(b"\0")
                found += [line[17:].decode() for line in environ if line.startswith(b"RM_GUARD_VERSION=")]
    return found


def test_the_line_works_as_it_is_shown(server: Server, host_directory: Path) -> None:
    line, _ = server.line()
    environ = {"PATH": os.environ["PATH"], "HOME": "/", "RM_INSTALL_ROOT": str(host_directory)}

    done = subprocess.run(["sh", "-c", line], env=environ, capture_output=True, text=True, timeout=140, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "is connected to" in done.stdout


def test_no_secret_is_in_an_argument_list(server: Server, host_directory: Path, tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    token = server.line()[1]
    settings = f"RM_TOKEN={token}\nRM_PROXY=http://me:sesame@127.0.0.1:9\nRM_NO_PROXY=127.0.0.1\n"
    (tmp_path / "script").write_text(settings + script(server))
    environ = {"PATH": os.environ["PATH"], "HOME": "/", "RM_INSTALL_ROOT": str(host_directory)}
    trace, said = tmp_path / "trace", tmp_path / "said"

    with (tmp_path / "script").open() as given, said.open("w") as out:
        # strace follows the agent too, which does not end; so the words are waited for, and then it is told to leave.
        tracer = subprocess.Popen(
            ["strace", "-f", "-qq", "-e", "trace=execve", "-s", "100000", "-o", str(trace), "sh"],
            stdin=given, env=environ, stdout=out, stderr=out,
        )  # fmt: skip
        until(lambda: "Remove it with" in said.read_text() or tracer.poll() is not None, said.name, seconds=90)
        tracer.kill()
        tracer.wait(40)

    assert "Remove it with" in said.read_text(), said.read_text()
    assert "enroll" in trace.read_text()
    assert token not in trace.read_text()
    assert "sesame" not in trace.read_text()
    assert 'proxy = "http://me:sesame@127.0.0.1:9"' in (host_directory / "etc" / "agent.toml").read_text()


def test_a_script_that_was_cut_off_does_nothing(server: Server, host_directory: Path) -> None:
    whole = script(server)
    last = whole.rstrip().rfind("\n")

    for cut in (200, len(whole) // 3, len(whole) // 2, len(whole) - 400, last + 1):
        run(whole[:cut], host_directory, RM_TOKEN="rme_x")

    assert not host_directory.exists()


def test_it_is_open_to_everybody_and_holds_no_secret(server: Server) -> None:
    answer = requests.get(f"{server.local_url}/install.sh", timeout=30)

    assert (answer.status_code, answer.headers["Content-Type"].split(";")[0]) == (200, "text/x-shellscript")
    assert answer.text == script(server)
    assert "rme_" not in answer.text


def test_the_servers_address_cannot_become_a_command(tmp_path: Path) -> None:
    evil = install.script(base_url=f"http://x';touch {tmp_path}/owned;'$(touch {tmp_path}/owned)")

    run(evil, tmp_path / "host", "--nonsense")

    assert not (tmp_path / "owned").exists()


def test_it_carries_the_guard_and_the_units_unchanged(server: Server) -> None:
    text = script(server)

    assert GUARD.read_text() in text
    for unit in ("rm-agent.service", "rm-agent-trial.path", "rm-agent-trial.service"):
        assert (ROOT / "agent" / "packaging" / unit).read_text() in text
    assert f"    server={server.base_url}\n" in text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--nonsense"], "is not understood"),
        (["--writable", "here"], "needs an absolute path"),
        (["--writable", "/no/such/place"], "mkdir -p"),
        (["--writable", "/tmp/$(id)"], "letters, digits"),
    ],
)
def test_a_wrong_option_is_explained(server: Server, tmp_path: Path, options: list[str], said: str) -> None:
    done = run(script(server), tmp_path / "host", *options)

    assert (done.returncode, said in done.stderr) == (1, True), done.stderr
    assert not (tmp_path / "host").exists()


def test_without_root_it_says_how_to_become_it(server: Server, tmp_path: Path) -> None:
    (tmp_path / "id").write_text("#!/bin/sh\necho 1000\n")
    (tmp_path / "id").chmod(0o755)
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}

    done = subprocess.run(["sh"], input=script(server), env=environ, capture_output=True, text=True, check=False)

    assert (done.returncode, "sudo" in done.stderr, "RM_INSTALL_ROOT" in done.stderr) == (1, True, True)


def test_a_refused_token_leaves_nothing_behind(server: Server, host_directory: Path) -> None:
    done = run(script(server), host_directory, RM_TOKEN="rme_invented")

    assert (done.returncode, "does not know" in done.stderr) == (1, True), done.stderr
    assert [path for path in host_directory.rglob("*") if path.is_file()] == []


class Wrong(BaseHTTPRequestHandler):
    """Not a restic-manager server; `answer` is what it says."""

    answer: tuple[int, dict[str, str], bytes]

    def do_GET(self) -> None:
        code, headers, body = self.answer
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def answering(code: int, headers: dict[str, str], body: bytes) -> Iterator[str]:
    handler = type("Handler", (Wrong,), {"answer": (code, headers, body)})
    httpd = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=httpd.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()


@pytest.mark.parametrize(
    ("code", "headers", "said"),
    [
        (200, {"ETag": f'"{"0" * 64}"'}, "arrived damaged"),
        (200, {}, "does not answer like a restic-manager server"),
        (404, {}, "does not answer like a restic-manager server"),
        (302, {"Location": "http://127.0.0.1:9/elsewhere"}, "redirects to http://127.0.0.1:9/elsewhere"),
    ],
    ids=["another hash", "no hash", "something else", "a redirect"],
)
def test_a_download_that_is_not_right_installs_nothing(
    tmp_path: Path, code: int, headers: dict[str, str], said: str
) -> None:
    with answering(code, headers, b"not an agent") as base_url:
        done = run(install.script(base_url=base_url), tmp_path / "host", RM_TOKEN="rme_x")

    assert (done.returncode, said in done.stderr) == (1, True), done.stderr
    assert [path for path in (tmp_path / "host").rglob("*") if path.is_file()] == []


def test_an_earlier_agent_goes_on_when_a_later_install_fails(server: Server, host_directory: Path) -> None:
    run(script(server), host_directory, RM_TOKEN=server.line()[1])
    before = {path: path.read_bytes() for path in (host_directory / "bin").iterdir()}
    server.stop()
    try:
        done = run(script(server), host_directory, "--repair")
    finally:
        server.start()

    assert (done.returncode, "refuses connections" in done.stderr) == (1, True), done.stderr
    assert {path: path.read_bytes() for path in (host_directory / "bin").iterdir()} == before
    until(lambda: "connected since" in status(host_directory), "the agent to be connected again", seconds=60)
