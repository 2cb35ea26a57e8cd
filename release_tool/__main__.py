"""The command line of `rm-release`."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

from release_tool import building, gate, publishing, verification
from release_tool.building import Plan
from release_tool.errors import ToolError
from release_tool.keys import RECOVERY, ROOT, TREE, KeyDirectory
from rm.shared.minisign import SignatureError

RELEASE_DIRECTORY = TREE / "dist" / "release"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; a refusal is one sentence on standard error and exit code 1."""
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], None] = options.run
    try:
        run(options)
    except (ToolError, SignatureError, OSError) as error:
        sys.stderr.write(f"rm-release: {error}\n")
        return 1
    return 0


def make_keys(options: argparse.Namespace) -> None:
    keys = KeyDirectory.create(os.environ, keyset_version=options.keyset_version)
    _say(f"Made in {keys.directory}, readable by you alone:")
    for name, meaning in (
        (ROOT, "root key, signs keysets; its id is what operators compare"),
        (RECOVERY, "second root key, for the day the first one is lost"),
        ("release-1", "release key, signs releases"),
    ):
        _say(f"  {name}.key  {keys.public(name).name}  {meaning}")
    _say(f"Now move {RECOVERY}.key to a place that is offline, and see that it is not on this machine any more.")
    _say(f"Copy {ROOT}.key too: without both root keys every host has to be installed anew.")


def change_keyset(options: argparse.Namespace) -> None:
    keys = KeyDirectory.open(os.environ)
    found = keys.next_keyset(is_adding=options.add, retired=tuple(options.retire), root_file=options.root)
    _say(f"Keyset {found.version} lists: {', '.join(key.name for key in found.release_keys)}")
    _say("Hosts and servers learn of it with the next release that is signed.")


def build(options: argparse.Namespace) -> None:
    keys = KeyDirectory.open(os.environ)
    plan = Plan(
        version=options.version or building.default_version(),
        seq=options.seq or building.next_seq(keys),
        released_at=_moment(),
        key_id=keys.release_key(options.key).public.name,
        expires_after=timedelta(days=options.days),
        min_from_seq=options.min_from_seq,
        guard_min=options.guard_min,
        yanked=tuple(options.yank),
    )
    found = building.build(options.output, plan, wheels_in=options.wheels)
    digest = found.artifacts[0].sha256
    _say(f"Built {found.version}, sequence {found.seq}, into {options.output}\n{digest}  {building.NAME}")


def pass_gate(options: argparse.Namespace) -> None:
    found = gate.pass_through(now=datetime.now(timezone.utc), wheels_in=options.wheels)
    _say(f"The agent of this tree passed the gate ({gate.LEGS}).\n{found}")


def sign(options: argparse.Namespace) -> None:
    found = publishing.sign(
        options.directory, KeyDirectory.open(os.environ), now=datetime.now(timezone.utc), passed=gate.passed()
    )
    _say(f"Signed {found.version}, sequence {found.seq}, with the release key {found.key_id}.")


def verify(options: argparse.Namespace) -> None:
    roots = tuple(verification.root_key(file) for file in options.root)
    for sentence in verification.verify(options.directory, now=datetime.now(timezone.utc), roots=roots):
        _say(f"  {sentence}")
    _say("All of it holds.")


def _moment() -> datetime:
    # The manifest's only input that changes by itself; with it fixed, two builds have the same manifest too.
    fixed = os.environ.get("SOURCE_DATE_EPOCH", "")
    if fixed.isdecimal():
        return datetime.fromtimestamp(int(fixed), timezone.utc)
    return datetime.now(timezone.utc).replace(microsecond=0)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}")
        return int(text)

    return parse


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rm-release", description="Make releases of the agent: keys, build, gate, sign, verify."
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    verb = verbs.add_parser("keys", help="make the keys, once, in RM_KEYS_DIR (~/.config/restic-manager/keys)")
    verb.add_argument("--keyset-version", type=_whole(1, 2**31), default=1, help="of the first keyset (default 1)")
    verb.set_defaults(run=make_keys)

    verb = verbs.add_parser("keyset", help="make the next keyset: add or retire release keys")
    verb.add_argument("--add", action="store_true", help="make a new release key")
    verb.add_argument("--retire", action="append", default=[], metavar="KEY_ID", help="take a release key away")
    verb.add_argument("--root", type=Path, metavar="FILE", help="sign with this root key, for example the sealed one")
    verb.set_defaults(run=change_keyset)

    verb = verbs.add_parser("build", help="build the agent and its manifest")
    verb.add_argument("--version", default="", help="default: the one in pyproject.toml")
    verb.add_argument("--seq", type=_whole(1, 2**31), help="default: one more than was signed last")
    verb.add_argument("--days", type=_whole(1, 3650), default=building.EXPIRES_AFTER.days, help="until it expires")
    verb.add_argument("--min-from-seq", type=_whole(0, 2**31), default=0, help="oldest release that may come to it")
    verb.add_argument(
        "--guard-min", type=_whole(0, 10**6), default=building.GUARD_MIN, help="oldest guard it runs under"
    )
    verb.add_argument("--yank", type=_whole(1, 2**31), action="append", default=[], help="withdraw this older sequence")
    verb.add_argument("--key", default="", metavar="KEY_ID", help="release key that is going to sign it")
    verb.add_argument("--output", type=Path, default=RELEASE_DIRECTORY, help="where it goes (default dist/release)")
    verb.add_argument("--wheels", type=Path, default=TREE / "build" / "agent-wheels", help="where wheels are kept")
    verb.set_defaults(run=build)

    verb = verbs.add_parser("gate", help="update real hosts to this tree's agent, back and on; sign wants it passed")
    verb.add_argument("--wheels", type=Path, default=TREE / "build" / "agent-wheels", help="where wheels are kept")
    verb.set_defaults(run=pass_gate)

    verb = verbs.add_parser("sign", help="sign what was built and has passed the gate")
    verb.add_argument("directory", type=Path, nargs="?", default=RELEASE_DIRECTORY)
    verb.set_defaults(run=sign)

    verb = verbs.add_parser("verify", help="check everything, with two implementations of the signature")
    verb.add_argument("directory", type=Path, nargs="?", default=RELEASE_DIRECTORY)
    verb.add_argument("--root", type=Path, action="append", default=[], metavar="FILE", help="root key to trust")
    verb.set_defaults(run=verify)
    return parser


if __name__ == "__main__":
    sys.exit(main())
