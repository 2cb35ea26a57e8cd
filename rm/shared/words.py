"""Words about numbers."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """(1, "host") → "1 host"; (3000, "host") → "3,000 hosts"; (2, "entry", "entries") → "2 entries"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
