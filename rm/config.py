"""Every setting of the server, once, with its default and what it means."""

import dataclasses
import ipaddress
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from rm.domain import addresses
from rm.domain.update_timing import ATTEMPT_SECONDS, FLEET_SECONDS, LEAST_ATTEMPT_SECONDS, Timing
from rm.errors import NotReady

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
MAX_SECONDS = 3600
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def setting(default: object, help: str, *, env: str, is_secret: bool = False) -> Any:
    """A field of Settings, read from `env` (and from `env`_FILE when it is secret)."""
    return dataclasses.field(default=default, metadata={"env": env, "help": help, "is_secret": is_secret})


@dataclass(frozen=True)
class Settings:
    """The server's settings; `from_env` reads and checks them."""

    listen: str = setting("127.0.0.1:8080", "Address and port to listen on.", env="RM_LISTEN")
    data_dir: Path = setting(Path("data"), "Directory of the database and the key file.", env="RM_DATA_DIR")
    base_url: str = setting(
        "", "The URL under which people and agents reach the server; default http://RM_LISTEN.", env="RM_BASE_URL"
    )
    secret_key_file: Path | None = setting(
        None,
        "Key that seals repository passwords; default <data>/secret.key. "
        "Made once, never overwritten: keep a copy elsewhere.",
        env="RM_SECRET_KEY_FILE",
    )
    cookie_secure: bool | None = setting(
        None,
        "Whether cookies need HTTPS; default true unless the base URL is http on loopback.",
        env="RM_COOKIE_SECURE",
    )
    trusted_proxy: tuple[Network, ...] = setting(
        (), "CIDRs of reverse proxies whose X-Forwarded-For and X-Forwarded-Proto are believed.", env="RM_TRUSTED_PROXY"
    )
    log_level: str = setting("info", "debug, info, warning or error.", env="RM_LOG_LEVEL")
    log_format: str = setting("text", "text or json.", env="RM_LOG_FORMAT")
    worker_class: str = setting("gevent", "gevent, or gthread (good to about 1,000 hosts).", env="RM_WORKER_CLASS")
    update_timeout_seconds: int = setting(
        ATTEMPT_SECONDS,
        "How long a host that is being updated may be silent, before the swap and after it, until its update counts as "
        f"failed; at least {LEAST_ATTEMPT_SECONDS}. A short one also shortens the trial on the host, to two thirds.",
        env="RM_UPDATE_TIMEOUT_SECONDS",
    )
    fleet_host_timeout_seconds: int = setting(
        FLEET_SECONDS,
        "How long a fleet update waits for one host after its swap; more than RM_UPDATE_TIMEOUT_SECONDS.",
        env="RM_FLEET_HOST_TIMEOUT_SECONDS",
    )
    release_dir: Path | None = setting(
        None,
        "Directory with a signed release that is imported at each start, never made current; the image names the one "
        "that it brings.",
        env="RM_RELEASE_DIR",
    )
    metrics_token: str = setting(
        "",
        "Bearer token that opens /metrics, as does one made under Settings, Metrics. Without either and without "
        "RM_METRICS_TRUSTED_CIDR there is no /metrics; with a token and networks set, both are needed.",
        env="RM_METRICS_TOKEN",
        is_secret=True,
    )
    metrics_trusted_cidr: tuple[Network, ...] = setting(
        (), "CIDRs of addresses that may read /metrics.", env="RM_METRICS_TRUSTED_CIDR"
    )
    oidc_issuer: str = setting(
        "",
        "Issuer of the OpenID Connect provider whose people may sign in, exactly as its discovery document names it; "
        "https, or http on loopback. Needs RM_OIDC_CLIENT_ID and at least one role.",
        env="RM_OIDC_ISSUER",
    )
    oidc_client_id: str = setting("", "Name of this server at the provider.", env="RM_OIDC_CLIENT_ID")
    oidc_client_secret: str = setting(
        "", "The client's secret; none for a public client.", env="RM_OIDC_CLIENT_SECRET", is_secret=True
    )
    oidc_scopes: str = setting(
        "openid profile", "What is asked for, with spaces between; must hold openid.", env="RM_OIDC_SCOPES"
    )
    oidc_role_claim: str = setting(
        "groups",
        "Claim that says what somebody may do here: a text or a list; dots lead into objects, as in "
        "realm_access.roles.",
        env="RM_OIDC_ROLE_CLAIM",
    )
    oidc_role_admin: tuple[str, ...] = setting(
        (), "Values of the role claim that make an administrator, with commas between.", env="RM_OIDC_ROLE_ADMIN"
    )
    oidc_role_operator: tuple[str, ...] = setting(
        (), "Values of the role claim that make an operator.", env="RM_OIDC_ROLE_OPERATOR"
    )
    oidc_role_viewer: tuple[str, ...] = setting(
        (),
        "Values of the role claim that make a viewer. Who matches none of the three is refused.",
        env="RM_OIDC_ROLE_VIEWER",
    )
    oidc_username_claim: str = setting(
        "preferred_username", "Claim that names a new account here.", env="RM_OIDC_USERNAME_CLAIM"
    )
    oidc_label: str = setting("single sign-on", "The provider's name on the sign-in page.", env="RM_OIDC_LABEL")
    oidc_ca_file: Path | None = setting(
        None, "Certificates that the provider's is checked against, instead of the usual ones.", env="RM_OIDC_CA_FILE"
    )
    setup_token: str = setting(
        "", "Fixed token of the first run's setup link, for tests and automation.", env="RM_SETUP_TOKEN", is_secret=True
    )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """The settings that the environment names; raises NotReady with the variable that cannot be read."""
        environ = os.environ if environ is None else environ
        found: dict[str, Any] = {}
        for spec in dataclasses.fields(cls):
            name = spec.metadata["env"]
            text = _read(environ, name, spec.metadata["is_secret"])
            if text is None:
                continue
            try:
                found[spec.name] = _PARSERS.get(spec.name, str)(text)
            except ValueError as error:
                raise NotReady(f"{name}: {error}") from error
        return cls(**found).checked()

    def checked(self) -> "Settings":
        """These settings with derived defaults filled in; raises NotReady for values that cannot work together."""
        try:
            host, port = split_listen(self.listen)
        except ValueError as error:
            raise NotReady(f"RM_LISTEN: {error}") from error
        shown_host = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104
        base_url = (self.base_url or f"http://{f'[{shown_host}]' if ':' in shown_host else shown_host}:{port}").rstrip(
            "/"
        )
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path or parts.query:
            raise NotReady(f"RM_BASE_URL: {base_url!r} must look like https://backup.example.net, without a path")
        problem = self.timing.order_problem()
        if problem:
            raise NotReady(f"RM_UPDATE_TIMEOUT_SECONDS and RM_FLEET_HOST_TIMEOUT_SECONDS: {problem}")
        self._check_oidc()
        is_local = parts.scheme == "http" and parts.hostname in LOOPBACK
        return dataclasses.replace(
            self,
            base_url=base_url,
            data_dir=self.data_dir.absolute(),
            secret_key_file=(self.secret_key_file or self.data_dir / "secret.key").absolute(),
            cookie_secure=not is_local if self.cookie_secure is None else self.cookie_secure,
        )

    @property
    def has_oidc(self) -> bool:
        """Whether people may sign in through a provider."""
        return bool(self.oidc_issuer)

    def _check_oidc(self) -> None:
        if not self.oidc_issuer:
            given = [
                spec.metadata["env"]
                for spec in dataclasses.fields(self)
                if spec.name.startswith("oidc_") and getattr(self, spec.name) != spec.default
            ]
            if given:
                raise NotReady(f"{given[0]} is set, but RM_OIDC_ISSUER is not; set it or leave all of RM_OIDC_* out")
            return
        issuer = _split_issuer(self.oidc_issuer)
        if issuer.scheme != "https" and not (issuer.scheme == "http" and issuer.hostname in LOOPBACK):
            raise NotReady("RM_OIDC_ISSUER must begin with https://")
        if not self.oidc_client_id:
            raise NotReady("RM_OIDC_ISSUER is set, but RM_OIDC_CLIENT_ID is not")
        if not (self.oidc_role_admin or self.oidc_role_operator or self.oidc_role_viewer):
            raise NotReady(
                "RM_OIDC_ISSUER is set, but none of RM_OIDC_ROLE_ADMIN, RM_OIDC_ROLE_OPERATOR and RM_OIDC_ROLE_VIEWER: "
                "nobody could sign in through the provider"
            )
        if "openid" not in self.oidc_scopes.split():
            raise NotReady("RM_OIDC_SCOPES must hold openid")
        if self.oidc_ca_file is not None and not self.oidc_ca_file.is_file():
            raise NotReady(f"RM_OIDC_CA_FILE: there is no file {self.oidc_ca_file}")

    @property
    def timing(self) -> Timing:
        return Timing(self.update_timeout_seconds, self.fleet_host_timeout_seconds)

    @property
    def database_file(self) -> Path:
        return self.data_dir / "restic-manager.db"


def split_listen(listen: str) -> tuple[str, int]:
    """Host and port of "127.0.0.1:8080" or "[::1]:8080"; raises ValueError."""
    host, colon, port = listen.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 <= int(port) < 65536:
        raise ValueError(f"{listen!r} must look like 127.0.0.1:8080")
    return host.strip("[]"), int(port)


def _split_issuer(text: str) -> SplitResult:
    try:
        issuer = urlsplit(text)
        is_plain = bool(issuer.hostname) and issuer.username is None and (issuer.port is None or issuer.port > 0)
    except ValueError:
        is_plain = False
    if not is_plain or issuer.query or issuer.fragment or any(char <= " " or char > "~" for char in text):
        raise NotReady("RM_OIDC_ISSUER must look like https://id.example.net/realms/main, without a query or a name")
    literal = addresses.literal(issuer.hostname or "")
    problem = addresses.problem(literal) if literal else None
    if problem:
        raise NotReady(f"RM_OIDC_ISSUER: {literal} {problem}")
    return issuer


def _read(environ: Mapping[str, str], name: str, is_secret: bool) -> str | None:
    file = environ.get(f"{name}_FILE") if is_secret else None
    if file:
        if environ.get(name):
            raise NotReady(f"{name} and {name}_FILE are both set; keep one")
        try:
            return Path(file).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise NotReady(f"{name}_FILE: cannot read {file}: {error}") from error
    return environ.get(name) or None


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(f"{text!r} must be true or false")
    return text.lower() == "true"


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(part.strip(), strict=False) for part in text.split(",") if part.strip())


def _seconds(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text[:9]) <= MAX_SECONDS:
        raise ValueError(f"{text!r} must be a whole number of seconds, at most {MAX_SECONDS}")
    return int(text)


def _texts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _choice(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"{text!r} must be one of {', '.join(choices)}")
        return text

    return parse


_PARSERS: dict[str, Callable[[str], Any]] = {
    "data_dir": Path,
    "secret_key_file": Path,
    "release_dir": Path,
    "cookie_secure": _boolean,
    "oidc_role_admin": _texts,
    "oidc_role_operator": _texts,
    "oidc_role_viewer": _texts,
    "oidc_ca_file": Path,
    "trusted_proxy": _networks,
    "metrics_trusted_cidr": _networks,
    "update_timeout_seconds": _seconds,
    "fleet_host_timeout_seconds": _seconds,
    "log_level": _choice("debug", "info", "warning", "error"),
    "log_format": _choice("text", "json"),
    "worker_class": _choice("gevent", "gthread"),
}
