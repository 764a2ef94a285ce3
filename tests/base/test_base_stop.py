"""The clock of a training while its process is held."""

from __future__ import annotations

import signal
import time

import pytest

from resnet_repro.base.stop import StopFlag, working_time


@pytest.mark.skipif(not hasattr(signal, "SIGCONT"), reason="no system that holds processes")
def test_time_in_which_a_process_is_held_does_not_count() -> None:
    with StopFlag() as stop:
        before = working_time()
        time.sleep(0.5)  # as after SIGSTOP, of which nobody is told
        signal.raise_signal(signal.SIGCONT)
        assert working_time() - before < 0.3
        time.sleep(0.1)
        assert working_time() - before >= 0.1
        assert stop.reason is None
