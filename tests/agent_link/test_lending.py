"""Threads that are lent: errands never wait for each other, and idle threads end."""

import threading
import weakref

from rm.agent_link.lending import Lender
from rm.agent_link.outgoing import Outgoing
from tests.agent_link.conftest import WAIT, wait_until


def test_an_errand_does_not_wait_for_one_that_is_blocked():
    lender, gate, done = Lender(), threading.Event(), threading.Event()
    lender.run(lambda: gate.wait(WAIT))

    lender.run(done.set)

    assert done.wait(WAIT)
    gate.set()


def test_a_thread_that_is_idle_is_lent_again():
    lender, threads = Lender(), []
    lender.run(lambda: threads.append(threading.current_thread()))
    wait_until(lambda: lender._idle == 1)

    lender.run(lambda: threads.append(threading.current_thread()))
    wait_until(lambda: lender._idle == 1)

    assert threads[0] is threads[1]


def test_threads_beyond_those_that_may_wait_end_when_they_are_done():
    lender, threads, gate = Lender(most_idle=1), [], threading.Event()

    def errand():
        threads.append(threading.current_thread())
        gate.wait(WAIT)

    for _ in range(3):
        lender.run(errand)
    wait_until(lambda: len(threads) == 3)
    gate.set()

    wait_until(lambda: sum(thread.is_alive() for thread in threads) == 1)
    lender.run(errand)
    wait_until(lambda: len(threads) == 4)
    assert threads[3] in threads[:3]


def test_no_errand_is_lost_when_threads_end_in_the_same_moment():
    lender, done = Lender(most_idle=0), []
    for number in range(2000):
        lender.run(lambda number=number: done.append(number))

    wait_until(lambda: len(done) == 2000)


def test_an_idle_thread_holds_nothing_of_its_first_errand():
    class Errand:
        def __call__(self):
            pass

    lender, errand = Lender(), Errand()
    held = weakref.ref(errand)
    lender.run(errand)
    del errand

    wait_until(lambda: lender._idle == 1)
    assert held() is None


def test_an_errand_that_fails_takes_no_thread_away(caplog):
    lender, done = Lender(), threading.Event()
    lender.run(lambda: 1 / 0)

    lender.run(done.set)

    assert done.wait(WAIT)
    wait_until(lambda: "a session's errand failed" in caplog.text)


def test_nobody_is_told_to_write_while_somebody_does():
    outgoing = Outgoing()
    outgoing.put("one")

    assert [outgoing.begin(), outgoing.begin()] == [True, False]
    assert [outgoing.take(), outgoing.take()] == ["one", None]
    outgoing.put("two")
    assert outgoing.begin()


def test_waiting_for_the_end_lasts_until_the_writer_says_so():
    outgoing = Outgoing()
    outgoing.close(1000, "")
    waiter = threading.Thread(target=outgoing.wait_ended, args=(WAIT,), daemon=True)
    waiter.start()

    assert outgoing.begin() and outgoing.take() == (1000, "")
    outgoing.end()
    waiter.join(WAIT)

    assert not waiter.is_alive() and not outgoing.begin()
