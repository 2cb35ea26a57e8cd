"""Take secrets out of text before it leaves the process."""

import json
from collections.abc import Iterable
from urllib.parse import quote, unquote, urlsplit

from agent.secrets import Secrets

MARK = "***"
SHORTEST = 3


class Redactor:
    """Replaces known secrets, plain, percent-encoded or as JSON writes them, by ***."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms: set[str] = set()
        for secret in secrets:
            if len(secret) >= SHORTEST:
                forms |= {secret, quote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1]}
                forms |= {json.dumps(secret, ensure_ascii=False)[1:-1], _go_encoded(secret)}
        self._forms = sorted(forms, key=len, reverse=True)

    def text(self, text: str) -> str:
        for form in self._forms:
            if form in text:
                text = text.replace(form, MARK)
        return text


def _go_encoded(secret: str) -> str:
    """As Go's net/url writes the password of a URL."""
    return quote(secret, safe="$&+,;=-_.~")


def of_secrets(secrets: Secrets) -> Redactor:
    """A redactor for everything that this host keeps secret."""
    found = [secrets.credential]
    for repository in secrets.repositories.values():
        found += [repository.password, repository.secret, repository.maintenance_secret]
        found += location_secrets(repository.location) + location_secrets(repository.maintenance_location)
    return Redactor(found)


def location_secrets(location: str) -> list[str]:
    """The passwords that stand in the URL of a repository's location."""
    _, _, rest = location.partition(":")
    try:
        password = urlsplit(rest if "://" in rest else location).password
    except ValueError:
        password = None
    return [password, unquote(password)] if password else []
