"""The event bus: it never waits, never raises and never grows without bound."""

import threading

from rm.events import EventBus, HostChanged, JobChanged, ListenerFellBehind


def test_a_listener_hears_what_happens_while_it_listens():
    bus = EventBus()
    bus.publish(HostChanged("before"))

    with bus.subscribe() as listener:
        bus.publish(HostChanged("during"))
        heard = listener.take(timeout=0)
    bus.publish(HostChanged("after"))

    assert heard == [HostChanged("during")]
    assert bus.count_listeners() == 0


def test_equal_events_that_wait_are_told_once():
    bus = EventBus()

    with bus.subscribe() as listener:
        for _ in range(5):
            bus.publish(JobChanged("j", "h"))

        assert listener.take(timeout=0) == [JobChanged("j", "h")]


def test_a_listener_that_falls_behind_is_told_so_and_holds_no_backlog():
    bus = EventBus()

    with bus.subscribe(limit=10) as listener:
        for number in range(25):
            bus.publish(HostChanged(str(number)))

        heard = listener.take(timeout=0)

    assert len(heard) <= 10
    assert ListenerFellBehind() in heard


def test_a_failing_handler_disturbs_nobody(caplog):
    bus = EventBus()
    bus.on_event(lambda event: 1 / 0)

    with bus.subscribe() as listener:
        bus.publish(HostChanged("h"))

        assert listener.take(timeout=0) == [HostChanged("h")]
    assert "a handler failed" in caplog.text


def test_closing_the_bus_wakes_who_waits():
    bus = EventBus()

    with bus.subscribe() as listener:
        waiting = threading.Thread(target=lambda: listener.take(timeout=55))
        waiting.start()
        bus.close()
        waiting.join(40)

        assert not waiting.is_alive()
        assert listener.is_closed
