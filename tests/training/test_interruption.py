"""Signals to the own process, as the system sends them."""

import contextlib
import ctypes
import os
import signal
import sys
import threading

import pytest

from dacapo_hd.training.interruption import Interrupted, SignalledError, Signals


def send(number=signal.SIGTERM):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "name", "code"), [(signal.SIGTERM, "SIGTERM", 143), (signal.SIGINT, "Ctrl-C", 130)])
def test_a_signal_is_raised_at_once_with_what_was_reached(number, name, code):
    with pytest.raises(Interrupted) as caught, Signals() as signals:
        signals.reached = "at iteration 5 of 9; the checkpoint is written"
        send(number)
        pytest.fail("went on")
    assert caught.value.problems == (
        f"stopped by {name} at iteration 5 of 9; the checkpoint is written; the same command goes on",
    )
    assert caught.value.exit_code == code


def test_no_handler_of_errors_takes_it():
    with pytest.raises(Interrupted), Signals():
        with contextlib.suppress(Exception):
            send()
        pytest.fail("went on")


def test_what_is_deferred_is_finished():
    finished = []
    with pytest.raises(Interrupted), Signals() as signals:
        with signals.deferred():
            send()
            finished.append(signals.received)
            signals.stop()
        pytest.fail("went on")
    assert finished == [signal.SIGTERM]


def test_a_signal_that_comes_at_the_very_end_counts():
    with pytest.raises(Interrupted), Signals() as signals, signals.deferred():
        send()


def test_a_wait_inside_of_what_is_deferred_ends_at_once():
    with pytest.raises(Interrupted), Signals() as signals, signals.deferred():
        with pytest.raises(SignalledError), signals.at_once():
            send()
            pytest.fail("went on")
        with pytest.raises(SignalledError), signals.at_once():
            pytest.fail("it came before the wait")


def test_a_signal_that_something_swallowed_ends_the_wait():
    with (
        pytest.raises(Interrupted),
        Signals() as signals,
        signals.deferred(),
        pytest.raises(SignalledError),
        signals.at_once(),
        contextlib.suppress(BaseException),
    ):
        send()


def test_unwinding_is_not_disturbed_by_more_of_the_same():
    unwound = []
    with pytest.raises(Interrupted), Signals():
        try:
            send()
        finally:
            send()
            send(signal.SIGINT)
            unwound.append(True)
    assert unwound == [True]


def test_a_second_ctrl_c_ends_at_once_even_what_is_deferred():
    with pytest.raises(KeyboardInterrupt), Signals() as signals, signals.deferred():
        send(signal.SIGINT)
        send(signal.SIGINT)
        pytest.fail("went on")


def test_the_handlers_before_are_back_afterwards():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with contextlib.suppress(Interrupted), Signals():
        assert signal.getsignal(signal.SIGTERM) != before[0]
        send()
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_other_errors_pass():
    with pytest.raises(ZeroDivisionError), Signals():
        raise ZeroDivisionError


def test_in_another_thread_nothing_is_handled():
    handlers = []

    def run():
        with Signals():
            handlers.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert handlers == [before]


def test_what_c_code_cannot_unwind_is_raised_later_and_not_printed(monkeypatch):
    printed, went_on = [], []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: printed.append(unraisable.exc_type))
    hook = sys.unraisablehook
    with pytest.raises(Interrupted), Signals():
        ctypes.CFUNCTYPE(None)(send)()
        ctypes.CFUNCTYPE(None)(lambda: 1 / 0)()
        went_on.append(True)
    assert went_on and printed == [ZeroDivisionError]
    assert sys.unraisablehook is hook
