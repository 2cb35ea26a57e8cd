"""A browser in words, from what it says it is."""

import re

# The first that fits: most browsers also claim to be another.
_BROWSERS = (
    (r"\bEdg(?:e|A|iOS)?/", "Edge"), (r"\b(?:OPR|Opera)/", "Opera"), (r"\bVivaldi/", "Vivaldi"),
    (r"\bSamsungBrowser/", "Samsung Internet"), (r"\b(?:Firefox|FxiOS)/", "Firefox"),
    (r"\b(?:Chrome|CriOS|HeadlessChrome|Chromium)/", "Chrome"), (r"\bVersion/.*\bSafari/", "Safari"),
    (r"^curl/", "curl"), (r"^Wget/", "Wget"), (r"^python-|^Python-|\bPython/", "a Python program"),
    (r"^PostmanRuntime/", "Postman"), (r"^Go-http-client/", "a Go program"), (r"^Mozilla/", "a browser"),
)  # fmt: skip
_SYSTEMS = (
    (r"\biPhone\b", "an iPhone"), (r"\biPad\b", "an iPad"), (r"\bAndroid\b", "Android"), (r"\bCrOS\b", "ChromeOS"),
    (r"\bWindows\b", "Windows"), (r"\bMac ?OS ?X\b|\bMacintosh\b", "macOS"), (r"\bLinux\b|\bX11\b", "Linux"),
)  # fmt: skip


def said(user_agent: str) -> str:
    """Like "Firefox on Linux"; it is what the browser claims, so it only helps people to know their own."""
    browser = _first(_BROWSERS, user_agent)
    system = _first(_SYSTEMS, user_agent)
    if browser and system:
        return f"{browser[0].upper()}{browser[1:]} on {system}"
    if browser or system:
        found = browser or system
        return found[0].upper() + found[1:]
    return "A program that does not say what it is" if not user_agent else "Another program"


def _first(rules: tuple[tuple[str, str], ...], text: str) -> str:
    return next((word for pattern, word in rules if re.search(pattern, text)), "")
