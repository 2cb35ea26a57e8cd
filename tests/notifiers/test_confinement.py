"""What a process that sends with other people's code may do, tried in such a process."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
START = """
import sys
sys.path.insert(0, {root!r})
import os, socket, subprocess, ssl, certifi
from rm.notifiers.confinement import NotAllowed, confine
told = []
confine(tell=told.append)
try:
    {act}
except NotAllowed:
    print("refused:", told[0])
except OSError as error:
    print("allowed, and failed with", type(error).__name__)
else:
    print("allowed")
"""


def outcome(act: str) -> str:
    code = START.format(root=str(ROOT), act=act)
    done = subprocess.run([sys.executable, "-I", "-B", "-c", code], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


@pytest.mark.parametrize(
    "act",
    [
        "open('/etc/passwd')",
        f"open({str(ROOT / 'pyproject.toml')!r})",
        "open('/proc/self/environ')",
        "open(sys.prefix + '/../pyproject.toml')",
        "open('/tmp/written', 'w')",
        "os.open('/tmp/written', os.O_CREAT | os.O_WRONLY)",
        "os.remove('/tmp/nothing-of-this-name')",
        "subprocess.run(['true'])",
        "os.system('true')",
        "os.execv('/bin/true', ['true'])",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "socket.socket(socket.AF_UNIX).connect('/run/docker.sock')",
        "socket.create_connection(('169.254.169.254', 80), timeout=1)",
        "socket.create_connection(('2852039166', 80), timeout=1)",
        "socket.socket().connect(('localhost', 80))",
        "socket.socket(socket.AF_INET6).connect(('::ffff:169.254.169.254', 80))",
        "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('169.254.169.254', 53))",
    ],
)
def test_files_programs_and_refused_addresses_are_out_of_reach(act: str) -> None:
    assert outcome(act).startswith("refused:")


@pytest.mark.parametrize(
    "act",
    [
        "socket.create_connection(('127.0.0.1', 9), timeout=5)",
        "socket.getaddrinfo('localhost', 80)",
        "ssl.create_default_context()",
        "open(certifi.where())",
        "__import__('apprise')",
    ],
)
def test_what_sending_needs_is_allowed(act: str) -> None:
    assert outcome(act).startswith("allowed")
