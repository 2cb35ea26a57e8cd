"""The generated pages say what the code says."""

import dataclasses

from rm.config import Settings
from rm.domain.figures import FIGURES
from rm.shared import protocol
from scripts import metrics_page, protocol_page, settings_page


def test_the_protocol_page_is_current() -> None:
    assert protocol_page.PAGE.read_text() == protocol_page.page(), "run `make docs`"


def test_the_settings_page_is_current() -> None:
    assert settings_page.PAGE.read_text() == settings_page.page(), "run `make docs`"


def test_the_metrics_page_is_current_and_has_every_figure() -> None:
    page = metrics_page.PAGE.read_text()

    assert page == metrics_page.page(), "run `make docs`"
    assert [name for name, figure in FIGURES.items() if f"| `{figure.full_name}` |" not in page] == []


def test_every_figure_is_explained_with_a_sentence() -> None:
    assert [figure.name for figure in FIGURES.values() if not figure.help.endswith(".")] == []


def test_every_setting_is_documented() -> None:
    page = settings_page.PAGE.read_text()

    missing = [spec.metadata["env"] for spec in dataclasses.fields(Settings) if f"`{spec.metadata['env']}`" not in page]

    assert missing == []


def test_every_setting_has_a_help_text_that_is_a_sentence() -> None:
    helps = {spec.metadata["env"]: spec.metadata["help"] for spec in dataclasses.fields(Settings)}

    assert [name for name, text in helps.items() if not text.endswith(".")] == []


def test_every_message_and_field_is_documented() -> None:
    page = protocol_page.PAGE.read_text()

    for name, type_ in (protocol.FROM_AGENT | protocol.FROM_SERVER).items():
        section = page.partition(f"### `{name}`\n")[2].partition("\n### ")[0]
        assert [spec.name for spec in dataclasses.fields(type_) if f"| `{spec.name}` |" not in section] == [], name


def test_every_error_code_is_documented_and_no_other() -> None:
    page = protocol_page.PAGE.read_text()

    assert set(protocol_page.ERROR_MEANINGS) == set(protocol.ERROR_CODES)
    assert [code for code in protocol.ERROR_CODES if f"| `{code}` |" not in page] == []


def test_every_close_code_is_documented() -> None:
    page = protocol_page.PAGE.read_text()

    assert [code for code in protocol.CLOSE_REASONS if f"| {code} |" not in page] == []
