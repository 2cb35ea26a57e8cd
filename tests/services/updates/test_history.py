"""The lines of an attempt's history: one for each thing that happened, and not for ever."""

from rm.services import update_steps
from rm.services.update_steps import note
from rm.store.models import UpdateEvent
from tests.cast import NOW
from tests.updating import SECOND, again


def texts(attempt):
    lines = UpdateEvent.select().where(UpdateEvent.job == attempt.job_id).order_by(UpdateEvent.id)
    return [(line.text, line.state, line.phase) for line in lines]


def test_a_line_that_repeats_the_last_one_is_left_out_and_said_again_after_another(sent):
    row, before = again(sent), texts(sent)

    for text in ("one", "one", "two", "one"):
        note(row, text, now=NOW + SECOND)

    state = (row.state, row.phase)
    assert texts(sent)[len(before) :] == [("one", *state), ("two", *state), ("one", *state)]


def test_the_same_words_in_another_phase_are_another_line(sent):
    row = again(sent)
    note(row, "The connection ended.", now=NOW)

    row.phase = "verifying"
    note(row, "The connection ended.", now=NOW)

    assert [phase for text, _, phase in texts(sent) if text == "The connection ended."][1:] == ["verifying"]


def test_a_history_that_is_full_takes_nothing_more_but_the_end(sent, monkeypatch):
    row = again(sent)
    monkeypatch.setattr(update_steps, "MAX_EVENTS", len(texts(sent)) + 1)
    note(row, "fits", now=NOW)
    full = texts(sent)

    note(row, "does not fit", now=NOW)
    assert texts(sent) == full

    row.state = "failed"
    note(row, "It failed.", now=NOW)
    assert [text for text, _, _ in texts(sent)[len(full) :]] == ["It failed."]
