"""Enrolment: a one-time token becomes this host's own credential."""

from typing import Any

from agent import config as configuration
from agent import release_info
from agent.config import Config, Paths
from agent.errors import AgentError, ConfigurationError
from agent.http import Answer, Transport, Unreachable
from agent.platform import linux
from agent.secrets import Secrets, SecretsFile, SecretsMissing
from agent.update.trust import TrustFile


class EnrolError(AgentError):
    """The server did not enrol this host; nothing was changed on it."""


def enrol(paths: Paths, *, settings: dict[str, str], token: str, force: bool) -> Secrets:
    """Enrol this host and store its credential; raises EnrolError or ConfigurationError and then changes nothing."""
    if not token:
        raise ConfigurationError(
            "The enrolment token is missing. Put it into the environment: RM_TOKEN=… rm-agent enroll …"
        )
    paths.make()
    secrets_file = SecretsFile(paths)
    refuse_overwriting(secrets_file, force=force)
    config = wanted(paths, settings)
    return store(paths, config, settings, _ask(config, token))


def store(paths: Paths, config: Config, settings: dict[str, str], answer: Answer) -> Secrets:
    """Keep what the server gave to a host that it let in; raises EnrolError or ConfigurationError."""
    found = _secrets(config, answer)
    configuration.write_settings(paths, settings)
    try:
        SecretsFile(paths).save(found)
    except OSError as error:
        raise ConfigurationError(
            f"{paths.secrets_file} cannot be written: {error.strerror}. Enrol again after."
        ) from error
    try:
        TrustFile(paths.update).pin_anew(found.trust)
    except OSError as error:
        raise ConfigurationError(f"{paths.update} cannot be written: {error.strerror}. Enrol again after.") from error
    return found


def refuse_overwriting(secrets_file: SecretsFile, *, force: bool) -> None:
    """Raises ConfigurationError when the host is enrolled already, or its secrets cannot be understood."""
    try:
        found = secrets_file.load()
    except SecretsMissing:
        return
    if not force:
        raise ConfigurationError(
            f"This host is already enrolled at {found.server}. To replace that enrolment, add --force."
        )


def wanted(paths: Paths, settings: dict[str, str]) -> Config:
    """The configuration as it would be with the new settings."""
    server = configuration.check_server(settings["server"])
    base = configuration.load(paths) if _has_server(paths) else Config(server=server)
    return Config(
        server=server,
        ca_file=settings.get("ca_file", base.ca_file),
        proxy=configuration.check_proxy(settings.get("proxy", base.proxy)),
        no_proxy=settings.get("no_proxy", base.no_proxy),
        restic=base.restic,
        hostname=base.hostname,
        hooks=base.hooks,
        restore_in_place=base.restore_in_place,
        limits=base.limits,
    )


def _has_server(paths: Paths) -> bool:
    if not paths.config_file.exists():
        return False
    try:
        configuration.load(paths)
    except ConfigurationError as error:
        if "server is missing" in str(error):
            return False
        raise
    return True


def facts(config: Config) -> dict[str, Any]:
    """What a host says of itself when it asks to be let in."""
    release = release_info.read()
    return {
        "hostname": config.hostname or linux.hostname(),
        "os": linux.OS,
        "arch": linux.arch(),
        "agent_version": release.version,
        "agent_seq": release.seq,
        "machine_id": linux.machine_id(),
    }


def _ask(config: Config, token: str) -> Answer:
    try:
        answer = Transport(config).request("POST", "/agent/enroll", body={"token": token} | facts(config))
    except Unreachable as error:
        raise EnrolError(str(error)) from error
    if answer.status != 201:
        raise EnrolError(explain(config, answer))
    return answer


def explain(config: Config, answer: Answer) -> str:
    """Why the server did not let this host in, and what to do."""
    told = f" The server says: {answer.error_text}" if answer.error_text else ""
    if answer.error_code:
        if answer.status == 401:
            return f"The server does not know this token.{told} Make a new one: Add host, in the server's pages."
        if answer.status == 410:
            return f"This token was used already or has expired.{told} Make a new one: Add host, in the server's pages."
        if answer.status == 429:
            after = answer.headers.get("retry-after", "60")
            return f"Too many attempts from this address. Try again in {after[:10]} s.{told}"
        return f"The server refused the enrolment (HTTP {answer.status}, {answer.error_code}).{told}"
    if answer.status in (301, 302, 307, 308):
        target = answer.headers.get("location", "elsewhere")[:200]
        return f"{config.server} redirects to {target}. Enrol with that address."
    return (
        f"{config.server} does not answer like a restic-manager server (HTTP {answer.status})."
        " Check the URL: it is the address at which you open the server's pages."
    )


def _secrets(config: Config, answer: Answer) -> Secrets:
    host_id, credential, trust = (answer.body.get(name) for name in ("host_id", "credential", "trust"))
    if not isinstance(host_id, str) or not isinstance(credential, str) or not host_id or not credential:
        raise EnrolError(f"{config.server} does not answer like a restic-manager server: no credential came back.")
    if not credential.isascii() or not credential.isprintable():
        raise EnrolError(f"{config.server} sent a credential that cannot be used.")
    return Secrets(
        server=config.server,
        host_id=host_id,
        credential=credential,
        trust=trust if isinstance(trust, dict) else {},
    )
