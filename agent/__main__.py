"""The command line of the agent."""

import argparse
import dataclasses
import json
import logging
import os
import sys
from dataclasses import asdict

from agent import announce, doctor, enrol, release_info, root_lock, running, selftest, status, uninstall
from agent import config as configuration
from agent.config import Paths
from agent.errors import EXIT_FAILED, EXIT_OK, AgentError
from agent.update import local


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0 done, 1 failed, 78 the configuration must be changed."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    os.umask(0o077)
    try:
        return int(options.action(options))
    except AgentError as error:
        _say(f"rm-agent: {error}", error=True)
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rm-agent", description="The agent of restic-manager.")
    parser.add_argument("--root", metavar="DIR", help="keep all files below DIR")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    verb = verbs.add_parser("enroll", help="enrol this host with a one-time token")
    verb.add_argument("--token", help="for tests; otherwise the token is taken from RM_TOKEN")
    _add_connection(verb)
    verb.set_defaults(action=_enroll)

    verb = verbs.add_parser("announce", help="show this host's fingerprint and wait until an administrator approves it")
    _add_connection(verb)
    verb.set_defaults(action=_announce)

    for name, action, text in (
        ("run", _run, "connect to the server and work"),
        ("status", _status, "how the running agent is"),
        ("doctor", _doctor, "check everything and say how to mend it"),
        ("selftest", _selftest, "can this agent run here? changes nothing"),
        ("version", _version, "which release this is"),
        ("pin", _pin, "take no update any more; the server cannot lift that"),
        ("unpin", _unpin, "take updates again"),
        ("rollback", _rollback, "go back to the release before, once, within 7 days after an update"),
        ("allow-downgrade", _allow_downgrade, "let one update go to an older release than ran here"),
        ("uninstall", _uninstall, "take the agent off this host; backups stay where they are"),
    ):
        verb = verbs.add_parser(name, help=text)
        if action in (_status, _selftest, _version):
            verb.add_argument("--json", action="store_true", help="for programs")
        verb.set_defaults(action=action)
    verb = verbs.add_parser("forget-bad", help="let a release be tried again that was put back on this host")
    verb.add_argument("sha256", metavar="SHA", help="of its artifact; rm-agent status lists them")
    verb.set_defaults(action=_forget_bad)
    return parser


def _add_connection(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--server", required=True, metavar="URL", help="where the server's pages are")
    verb.add_argument("--ca-file", metavar="FILE", help="certificate of the server's private CA")
    verb.add_argument("--proxy", metavar="URL", help="HTTP proxy")
    verb.add_argument("--no-proxy", metavar="HOSTS", help="hosts, domains and networks that need no proxy")
    verb.add_argument("--force", action="store_true", help="replace an enrolment that exists")


def _connection(options: argparse.Namespace) -> dict[str, str]:
    settings = {"server": configuration.check_server(options.server)}
    if options.ca_file is not None:
        settings["ca_file"] = os.path.abspath(options.ca_file)
    if options.proxy is not None:
        settings["proxy"] = configuration.check_proxy(options.proxy)
    if options.no_proxy is not None:
        settings["no_proxy"] = options.no_proxy
    return settings


def _enroll(options: argparse.Namespace) -> int:
    settings = _connection(options)
    token = (options.token or os.environ.get("RM_TOKEN", "")).strip()
    found = enrol.enrol(Paths.of(options.root), settings=settings, token=token, force=options.force)
    _say(f"Enrolled at {found.server} as host {found.host_id}. Start the agent: rm-agent run")
    return EXIT_OK


def _announce(options: argparse.Namespace) -> int:
    paths, settings = Paths.of(options.root), _connection(options)
    try:
        found = announce.announce(paths, settings=settings, force=options.force, say=_say)
    except KeyboardInterrupt:
        _say("\nEnded. The announcement stays; start the same command again to go on waiting.")
        return EXIT_FAILED
    _say(f"Approved: enrolled at {found.server} as host {found.host_id}.")
    _say("The install script starts the agent now; without it: rm-agent run")
    return EXIT_OK


def _run(options: argparse.Namespace) -> int:
    paths = Paths.of(options.root)
    return running.run_until_signal(paths, configuration.load(paths))


def _status(options: argparse.Namespace) -> int:
    paths = Paths.of(options.root)
    found, update = status.read(paths), local.look(paths)
    is_running = found is not None and status.is_running(found)
    if options.json:
        facts = {"running": is_running} | (asdict(found) if found else {}) | {"update": dataclasses.asdict(update)}
        _say(json.dumps(facts))
    else:
        for line in [*status.describe(found), *local.describe(update)]:
            _say(line)
    return EXIT_OK if is_running else EXIT_FAILED


def _doctor(options: argparse.Namespace) -> int:
    is_well = True
    for check in doctor.examine(Paths.of(options.root)):
        _say(check.line())
        is_well = is_well and check.state != "failed"
    return EXIT_OK if is_well else EXIT_FAILED


def _selftest(options: argparse.Namespace) -> int:
    found = selftest.examine(Paths.of(options.root))
    if options.json:
        _say(json.dumps(found))
    else:
        for name, text in found["checks"].items():
            _say(f"{name}: {text}")
    return EXIT_OK if found["ok"] else EXIT_FAILED


def _version(options: argparse.Namespace) -> int:
    release = release_info.read()
    _say(json.dumps(asdict(release)) if options.json else f"rm-agent {release.version} ({release.seq})")
    return EXIT_OK


def _pin(options: argparse.Namespace) -> int:
    _say(local.pin(Paths.of(options.root)))
    return EXIT_OK


def _unpin(options: argparse.Namespace) -> int:
    _say(local.unpin(Paths.of(options.root)))
    return EXIT_OK


def _rollback(options: argparse.Namespace) -> int:
    local.rollback(Paths.of(options.root), lock=root_lock.acquire, say=_say)
    return EXIT_OK


def _allow_downgrade(options: argparse.Namespace) -> int:
    _say(local.allow_downgrade(Paths.of(options.root)))
    return EXIT_OK


def _forget_bad(options: argparse.Namespace) -> int:
    _say(local.forget_bad(Paths.of(options.root), options.sha256))
    return EXIT_OK


def _uninstall(options: argparse.Namespace) -> int:
    for line in uninstall.uninstall(Paths.of(options.root), is_installed=options.root is None):
        _say(line)
    return EXIT_OK


def _say(text: str, *, error: bool = False) -> None:
    stream = sys.stderr if error else sys.stdout
    stream.write(text + "\n")
    stream.flush()


if __name__ == "__main__":
    sys.exit(main())
