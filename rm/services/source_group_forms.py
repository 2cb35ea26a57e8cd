"""What people say of a source group, and what is wrong with it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rm.domain import retention
from rm.errors import Invalid
from rm.store import source_groups
from rm.store.models import Host, SourceGroup

MODES = ("always_on", "intermittent")
MAX_TAGS = 16
MAX_SHELL = 20_000
MAX_KIB = 100_000_000
_PLAIN = (
    "name", "includes", "excludes", "one_file_system", "exclude_caches", "tags", "mode", "stale_after_hours",
    "retention", "retries", "retry_minutes", "upload_kib", "download_kib",
)  # fmt: skip
HOOKS = ("pre_hook", "post_hook", "hook_seconds")


@dataclass(frozen=True, kw_only=True)
class SourceGroupForm:
    """What a person says of a group. A hook that is None, and a shell text that is empty, stays as it is."""

    name: str = ""
    includes: list[str] = field(default_factory=list)
    excludes: list[str] = field(default_factory=list)
    one_file_system: bool = False
    exclude_caches: bool = False
    tags: list[str] = field(default_factory=list)
    mode: str = "always_on"
    stale_after_hours: int | None = None
    retention: dict[str, Any] = field(default_factory=dict)
    retries: int = 2
    retry_minutes: int = 10
    upload_kib: int = 0
    download_kib: int = 0
    pre_hook: str | None = None
    post_hook: str | None = None
    hook_seconds: int | None = None
    pre_shell: str = ""
    post_shell: str = ""
    remove_pre_shell: bool = False
    remove_post_shell: bool = False

    @property
    def touches_shell(self) -> bool:
        return bool(self.pre_shell or self.post_shell or self.remove_pre_shell or self.remove_post_shell)


def form_of(group: SourceGroup) -> SourceGroupForm:
    """The form that changes nothing of this group."""
    return SourceGroupForm(**{name: getattr(group, name) for name in (*_PLAIN, *HOOKS)})


def cleaned(form: SourceGroupForm) -> SourceGroupForm:
    """The form without blank lines, repetitions and outer blanks."""
    shells = {name: getattr(form, name).replace("\r\n", "\n") for name in ("pre_shell", "post_shell")}
    lists = {name: _lines(getattr(form, name)) for name in ("includes", "excludes")}
    return SourceGroupForm(
        **vars(form)
        | shells
        | lists
        | {"name": form.name.strip(), "tags": list(dict.fromkeys(tag.strip() for tag in form.tags if tag.strip()))}
    )


def check(
    form: SourceGroupForm, *, host: Host, existing: SourceGroup | None, known: list[SourceGroup] | None = None
) -> None:
    """Raises Invalid, which names each field; `form` is a cleaned one, `known` are the host's groups if at hand."""
    wrong = problems(form) | _hook_problems(form, host, existing)
    known = source_groups.list_for_host(host.id) if known is None else known
    others = [one for one in known if existing is None or one.id != existing.id]
    if any(one.name == form.name for one in others):
        wrong["name"] = "This host has a group of this name already."
    elif clash := next((one for one in others if form.name in one.tags), None):
        wrong["name"] = (
            f"The group {clash.name} puts this name on its snapshots as a tag; tidying up would mix the two."
        )
    names = {one.name for one in others} | {form.name}
    if taken := [tag for tag in form.tags if tag in names]:
        wrong["tags"] = f"{taken[0]} is the name of a source group: tidying up would take these snapshots for its own."
    if wrong:
        raise Invalid(wrong)


def from_texts(texts: Mapping[str, str], base: SourceGroupForm) -> SourceGroupForm:
    """The form as typed into a page; a box that is not in `texts` is not ticked. Raises Invalid for what is no number.

    Lists have one entry a line, tags may be parted by commas, the parts of the retention are fields of their own.
    Hooks that are not in `texts` stay as they are in `base`.
    """
    wrong: dict[str, str] = {}

    def number(name: str, default: int | None) -> int | None:
        text = texts.get(name, "").strip()
        if not text:
            return default
        if not (text.isascii() and text.isdigit() and len(text) <= 12):
            wrong[name] = "Write a whole number."
            return default
        return int(text)

    rules: dict[str, Any] = {name: number(name, None) for name in retention.COUNTS}
    rules |= {name: texts.get(name, "").strip() for name in retention.PERIODS}
    values: dict[str, Any] = {
        "name": texts.get("name", ""),
        "includes": texts.get("includes", "").split("\n"),
        "excludes": texts.get("excludes", "").split("\n"),
        "tags": texts.get("tags", "").replace(",", "\n").split("\n"),
        "one_file_system": "one_file_system" in texts,
        "exclude_caches": "exclude_caches" in texts,
        "mode": texts.get("mode", base.mode),
        "stale_after_hours": number("stale_after_hours", None),
        "retention": {name: value for name, value in rules.items() if value not in (None, "")},
        "retries": number("retries", 0),
        "retry_minutes": number("retry_minutes", 10),
        "upload_kib": number("upload_kib", 0),
        "download_kib": number("download_kib", 0),
        "pre_hook": texts.get("pre_hook", base.pre_hook),
        "post_hook": texts.get("post_hook", base.post_hook),
        "hook_seconds": number("hook_seconds", base.hook_seconds),
        "pre_shell": texts.get("pre_shell", ""),
        "post_shell": texts.get("post_shell", ""),
        "remove_pre_shell": "remove_pre_shell" in texts,
        "remove_post_shell": "remove_post_shell" in texts,
    }
    if wrong:
        raise Invalid(wrong)
    return SourceGroupForm(**values)


def _lines(texts: list[str]) -> list[str]:
    return list(dict.fromkeys(text.strip("\r") for text in texts if text.strip()))


def problems(form: SourceGroupForm) -> dict[str, str]:
    """What is wrong with a cleaned form whatever the host, by field."""
    wrong = {}
    if not form.name or len(form.name) > 100 or not form.name.isprintable() or "," in form.name:
        wrong["name"] = "Use 1 to 100 printable characters without a comma: the name is the tag of its snapshots."
    if not form.includes:
        wrong["includes"] = "Name at least one folder or file, one a line."
    elif len(form.includes) > 200 or any(len(path) > 4096 or "\0" in path for path in form.includes):
        wrong["includes"] = "Name at most 200 paths of at most 4,096 characters."
    elif relative := [path for path in form.includes if not path.startswith("/")]:
        wrong["includes"] = f"Each path starts with /; this one does not: {relative[0][:100]}"
    if len(form.excludes) > 500 or any(len(pattern) > 4096 or "\0" in pattern for pattern in form.excludes):
        wrong["excludes"] = "Name at most 500 patterns of at most 4,096 characters."
    if len(form.tags) > MAX_TAGS or any(len(tag) > 100 or not tag.isprintable() or "," in tag for tag in form.tags):
        wrong["tags"] = f"Use at most {MAX_TAGS} tags of 1 to 100 printable characters without a comma."
    if form.mode not in MODES:
        wrong["mode"] = f"Choose one of {', '.join(MODES)}."
    if form.stale_after_hours is not None and not 1 <= form.stale_after_hours <= 8784:
        wrong["stale_after_hours"] = "Say 1 to 8,784 hours, or nothing: then mode and schedule decide."
    if problem := retention.problem(form.retention):
        wrong["retention"] = problem
    if not 0 <= form.retries <= 10:
        wrong["retries"] = "Try again 0 to 10 times."
    if not 1 <= form.retry_minutes <= 1440:
        wrong["retry_minutes"] = "Wait 1 to 1,440 minutes before the first retry."
    for name in ("upload_kib", "download_kib"):
        if not 0 <= getattr(form, name) <= MAX_KIB:
            wrong[name] = f"Say 0 (no limit) to {MAX_KIB:,} KiB/s."
    return wrong


def _hook_problems(form: SourceGroupForm, host: Host, existing: SourceGroup | None) -> dict[str, str]:
    wrong = {}
    for name in ("pre_hook", "post_hook"):
        chosen = getattr(form, name)
        is_kept = existing is not None and chosen == getattr(existing, name)
        if chosen and not is_kept and chosen not in host.hook_names:
            wrong[name] = (
                f"{host.name} has no hook of this name. Put an executable of that name into its hooks.d; the agent"
                " reports it when it connects."
            )
    if form.hook_seconds is not None and not 1 <= form.hook_seconds <= 86_400:
        wrong["hook_seconds"] = "Give a hook 1 to 86,400 seconds."
    for name in ("pre_shell", "post_shell"):
        text = getattr(form, name)
        if text and host.hooks_policy != "server":
            wrong[name] = (
                f'{host.name} takes no shell text from a server. Its owner allows it with hooks = "server" in the'
                " agent's configuration."
            )
        elif len(text) > MAX_SHELL or "\0" in text:
            wrong[name] = f"Use at most {MAX_SHELL:,} characters."
    return wrong
