"""`make demo`: plays the product on this machine, for a person to look at, or with --auto for itself."""

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

from demo.play import USERNAME, Play
from demo.stage import Stage
from demo.unattended import Unattended
from demo.updating import BAD, BAD_CODE, NEXT, NOW, QUICK, Updating
from demo.waiting import DemoFailed

Step = tuple[str, Callable[[], str]]
Row = tuple[str, str, str, float]


class Interrupted(Exception):
    """Somebody wants the demo to end."""


def main() -> int:
    """The exit code: 0 when everything that was to be shown held."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    try:
        stage = Stage(**(QUICK if arguments.auto else {}))
    except DemoFailed as error:
        print(error, file=sys.stderr)
        return 1
    play = Play(stage)
    updating = Updating(stage, play.person)
    unattended = Unattended(play)
    rows: list[Row] = []
    begun = time.monotonic()
    is_good = False
    try:
        is_good = _perform(_opening(play, updating), rows)
        if is_good:
            print(f"\nFrom the start to the first finished backup: {time.monotonic() - begun:.1f} s\n", flush=True)
            is_good = _perform([*_more_hosts(play), ("plan the nights", unattended.plan_the_nights)], rows)
        if is_good:
            if arguments.auto:
                parts = (_feats(play), _unattended(unattended), _updates(updating), _endings(play))
                is_good = _perform([step for part in parts for step in part], rows)
            elif is_good := _perform([_next_release(updating)], rows):
                _invite(play)
                threading.Event().wait()
        if not is_good:
            print(stage.last_words(), file=sys.stderr)
    except Interrupted:
        print("\nStopping.", flush=True)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        left = stage.clear(keep=arguments.keep)
    if left:
        print(f"These processes would not end: {left}", file=sys.stderr)
    if arguments.keep:
        print(f"Kept: {stage.directory}")
    if arguments.auto:
        rows.append(
            ("ok" if not left else "FAILED", "leave nothing", "no process, no file" if not left else str(left), 0)
        )
        _print_table(rows, time.monotonic() - begun)
    return 0 if is_good and not left else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo ARGS=…", description=__doc__)
    parser.add_argument("--auto", action="store_true", help="unattended; exit code 0 only if all of it held")
    parser.add_argument("--keep", action="store_true", help="keep the directory with its logs at the end")
    return parser.parse_args()


def _opening(play: Play, updating: Updating) -> list[Step]:
    return [
        ("start the server", play.start_server),
        ("first-run setup", play.set_up),
        ("sign and import a release", lambda: updating.make_current(NOW)),
        ("enrol a host", play.enrol),
        ("set the repository", play.set_repository),
        ("choose what to back up", play.choose_sources),
        ("back up", play.back_up),
    ]


def _more_hosts(play: Play) -> list[Step]:
    return [
        ("let one in that announced itself", play.announce),
        ("back up to a rest-server", play.back_up_to_rest_server),
    ]


def _feats(play: Play) -> list[Step]:
    return [
        ("cancel a backup", play.cancel_one),
        ("kill the server", play.kill_server),
        ("kill the agent", play.kill_agent),
        ("list snapshots", play.list_snapshots),
        ("restore one file", play.restore_one),
    ]


def _unattended(unattended: Unattended) -> list[Step]:
    return [
        ("run on schedule, without the server", unattended.run_on_schedule),
        ("restore through the server", unattended.restore_through_the_server),
        ("keep the repository in order", unattended.keep_in_order),
    ]


def _next_release(updating: Updating) -> Step:
    return ("import the next release", lambda: updating.make_current(NEXT))


def _updates(updating: Updating) -> list[Step]:
    return [
        _next_release(updating),
        ("update one host", updating.update_one),
        ("update the fleet, kill the server", updating.update_fleet),
        ("import a bad release", lambda: updating.make_current(BAD, code=BAD_CODE)),
        ("halt at the bad release", updating.halt_at_a_bad_release),
        ("roll back the others", updating.roll_back_the_others),
    ]


def _endings(play: Play) -> list[Step]:
    return [
        ("look for secrets", play.look_for_secrets),
        ("stop the server", play.stop_server),
    ]


def _perform(steps: list[Step], rows: list[Row]) -> bool:
    """Do the steps in order, saying what each came to; False at the first that did not hold."""
    for name, step in steps:
        print(f"{name} …", end=" ", flush=True)
        begun = time.monotonic()
        try:
            result = step()
        except DemoFailed as error:
            rows.append(("FAILED", name, str(error), time.monotonic() - begun))
            print(f"FAILED: {error}", flush=True)
            return False
        rows.append(("ok", name, result, time.monotonic() - begun))
        print(f"{result} ({rows[-1][3]:.1f} s)", flush=True)
    return True


def _invite(play: Play) -> None:
    print(
        f"    {play.stage.base_url}\n"
        f"    user      {USERNAME}\n"
        f"    password  {play.password}\n\n"
        "Sign in, open web1 and press *Back up now* on “large” to watch a longer backup.\n"
        f"The agents run {NOW[0]}, the server holds {NEXT[0]}: open Settings → Fleet update, or press *Update agent*.\n"
        f"Everything is in {play.stage.directory} and goes away with Ctrl-C.",
        flush=True,
    )


def _print_table(rows: list[Row], seconds: float) -> None:
    width = max(len(name) for _, name, _, _ in rows)
    print(f"\n{'':6}  {'step':{width}}  {'seconds':>7}  result")
    for verdict, name, result, took in rows:
        print(f"{verdict:6}  {name:{width}}  {took:7.1f}  {result.splitlines()[0][:200] if result else ''}")
    failed = sum(verdict != "ok" for verdict, _, _, _ in rows)
    print(f"\n{len(rows) - failed} held, {failed} failed, in {seconds:.1f} s")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted


if __name__ == "__main__":
    sys.exit(main())
