"""A source group as texts of a form, and back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rm.errors import Invalid
from rm.services.source_group_forms import SourceGroupForm, cleaned, from_texts, problems
from rm.store.models import Host, SourceGroup
from rm.web import retention_form
from rm.web.retention_preview import retention_of

MODES = (
    ("always_on", "Always on", "A server: late after one and a half times the time between two runs."),
    ("intermittent", "Intermittent", "A laptop, or a machine that sleeps: late after 7 days without a good backup."),
)  # fmt: skip
LISTS = ("includes", "excludes", "tags")
TEXTS = ("name", "mode", "retries", "retry_minutes")
SPEEDS = ("upload_kib", "download_kib")
TICKS = ("one_file_system", "exclude_caches")
HOOKS = ("pre_hook", "post_hook", "hook_seconds")


@dataclass(frozen=True)
class Hooks:
    """What the form shows of the hooks: which there are, and whether shell texts are set, which it never shows.

    `host` is None in a template, where hooks are named freely and shell texts are not kept.
    """

    may_edit: bool
    host: Host | None = None
    names: list[str] = field(default_factory=list)
    is_pre_shell_set: bool = False
    is_post_shell_set: bool = False

    @property
    def options(self) -> list[tuple[str, str]]:
        return [("", "Nothing"), *((name, name) for name in self.names)]

    @property
    def takes_shell(self) -> bool:
        return self.host is not None and self.host.hooks_policy == "server"


def hooks_of(host: Host, group: SourceGroup | None, *, may_edit: bool) -> Hooks:
    """What can be chosen on this host; what the group has already stays to choose, though the host lost it."""
    chosen = [name for name in (group.pre_hook, group.post_hook) if name] if group is not None else []
    return Hooks(
        may_edit=may_edit,
        host=host,
        names=sorted({*host.hook_names, *chosen}),
        is_pre_shell_set=group is not None and group.pre_shell_sealed is not None,
        is_post_shell_set=group is not None and group.post_shell_sealed is not None,
    )


def texts_of(form: SourceGroupForm) -> dict[str, str]:
    """What the fields hold for this group; a box that is not ticked is left out, and shell texts always are."""
    texts = {name: "\n".join(getattr(form, name)) for name in LISTS}
    texts |= {name: str(getattr(form, name)) for name in TEXTS}
    texts |= {name: str(getattr(form, name) or "") for name in (*SPEEDS, "stale_after_hours")}
    texts |= {name: "yes" for name in TICKS if getattr(form, name)}
    hooks = {"pre_hook": "", "post_hook": "", "hook_seconds": 600}
    texts |= {name: str(hooks[name] if getattr(form, name) is None else getattr(form, name)) for name in HOOKS}
    return texts | retention_form.texts_of(form.retention)


def typed(texts: Mapping[str, str], base: SourceGroupForm) -> SourceGroupForm:
    """The group that was typed; raises Invalid with everything that is wrong with it whatever the host."""
    texts = retention_form.resolved(texts)
    try:
        return from_texts(texts, base)
    except Invalid as error:
        good = {name: text for name, text in texts.items() if name not in error.fields}
        raise Invalid(problems(cleaned(from_texts(good, base))) | error.fields) from error


def typed_for_template(texts: Mapping[str, str], base: SourceGroupForm) -> SourceGroupForm:
    """The group of a template that was typed, without shell texts; raises Invalid with everything that is wrong."""
    plain = {name: text for name, text in texts.items() if "shell" not in name}
    form = cleaned(typed(plain, base))
    wrong = problems(form)
    if wrong:
        raise Invalid(wrong)
    return form


def choices(texts: Mapping[str, str], hooks: Hooks) -> dict[str, Any]:
    """What the fields of a group are shown with besides their values."""
    retention = retention_of(retention_form.resolved(texts)) or {}
    return {
        "modes": MODES, "retention": retention_form, "words": retention_form.words(retention), "hooks": hooks,
    }  # fmt: skip
