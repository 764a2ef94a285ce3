"""`python -m MODULE` in a fork of a process that has imported torch, which takes seconds otherwise.

`ForkedPython(folder).program` is called like Python. It hands its arguments, environment and
streams to a server, waits for the process that the server forks, passes signals on to it and ends
as it does. If it is killed, that process is killed. Other than `MODULES` it runs Python itself.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import runpy
import select
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import forked_program

import resnet_repro

HOLD, HELD_AT = "RESNET_REPRO_TEST_HOLD", 12
IMPORTED_FROM = (Path(resnet_repro.__file__).parent.parent, Path(__file__).parents[1])
MODULES = ("resnet_repro", "submitit.core._submit")


class ForkedPython:
    """The server, which ends with this process."""

    def __init__(self, folder: Path) -> None:
        self.program = folder / "python"
        words = [sys.executable, "-IS", forked_program.__file__, folder, sys.executable]
        self.program.write_text(
            f'#!/bin/sh\nexec {shlex.join(map(str, words))} "{" ".join(MODULES)}" "$@"\n',
            encoding="utf-8",
        )
        self.program.chmod(0o755)
        self._server = subprocess.Popen(
            [sys.executable, __file__, self.program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, IMPORTED_FROM))},
            cwd=folder,  # a socket's path has to be short
        )
        assert self._server.stdout is not None
        assert self._server.stdout.readline() == b"ready\n"

    def close(self) -> None:
        self._server.communicate(timeout=30)


class Server:
    """Forks processes on demand."""

    def __init__(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(forked_program.SOCKET)
        self._listener.listen(64)
        self._children: dict[int, socket.socket] = {}
        self._woken, self._wakes = socket.socketpair()
        self._wakes.setblocking(False)
        signal.set_wakeup_fd(self._wakes.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)  # it wakes `select`
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def serve(self) -> dict[str, Any]:
        """Serve until stdin is closed; what is asked of a forked process, in that process."""
        while True:
            callers = {connection: pid for pid, connection in self._children.items()}
            ready = select.select([0, self._listener, self._woken, *callers], [], [])[0]
            if self._woken in ready:
                self._woken.recv(1 << 16)
                self._tell_ends()
            for caller in callers.keys() & set(ready):  # they say nothing: they are gone
                if self._children.pop(callers[caller], None):
                    os.kill(callers[caller], signal.SIGKILL)
                    caller.close()
            if self._listener in ready:
                request = self._start(self._listener.accept()[0])
                if request is not None:
                    return request
            if 0 in ready:
                os._exit(0)

    def _tell_ends(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                caller = self._children.pop(ended[0], None)
                if caller:
                    with caller, contextlib.suppress(OSError):
                        caller.sendall(b"%d\n" % os.waitstatus_to_exitcode(ended[1]))

    def _start(self, caller: socket.socket) -> dict[str, Any] | None:
        _, streams, *_ = socket.recv_fds(caller, 1, 3)
        with caller.makefile("rb") as lines:
            request: dict[str, Any] = json.loads(lines.readline())
        pid = os.fork()
        if pid == 0:
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
            for used in (
                caller,
                self._listener,
                self._woken,
                self._wakes,
                *self._children.values(),
            ):
                used.detach()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.closerange(3, os.sysconf("SC_OPEN_MAX"))
            return request
        for stream in streams:
            os.close(stream)
        self._children[pid] = caller
        caller.sendall(b"%d\n" % pid)
        return None


def wait_where_told() -> None:
    """Arrange for trainings to wait at iteration `HELD_AT` while a test wants to find them there.

    They wait as long as the file that `HOLD` names exists, or until told to stop.
    """
    from resnet_repro.training.trainer import Trainer

    train = Trainer.train

    def train_and_wait(self: Trainer, hooks: Any) -> bool:
        asked = hooks.should_stop

        def should_stop() -> bool:
            while not (stop := asked()) and self.iteration >= HELD_AT and is_held():
                time.sleep(0.01)
            return bool(stop)

        hooks.should_stop = should_stop
        return train(self, hooks)

    Trainer.train = train_and_wait  # type: ignore[method-assign]


def is_held() -> bool:
    """Whether the test wants trainings to wait."""
    return HOLD in os.environ and Path(os.environ[HOLD]).exists()


def main() -> None:
    """Serve; in a forked process, be what was asked for."""
    from warm_up import warm_up

    import resnet_repro.launch.worker
    import resnet_repro.plan.progress
    import resnet_repro.report.tidy  # noqa: F401

    warm_up(test_images=30)
    wait_where_told()
    server, program = Server(), sys.argv[1]
    os.write(1, b"ready\n")
    request = server.serve()
    if request["leads_session"]:
        os.setsid()
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    with contextlib.suppress(OSError):  # what /proc shows of the environment is the server's
        Path("/proc/self/comm").write_text(os.environ.get("RESNET_REPRO_TEST", "python"), "utf-8")
    sys.executable, sys.path[0] = program, request["folder"]
    module, *sys.argv[1:] = request["argv"]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if not isinstance(end.code, int):
            raise
        # Without taking down what the server imported: triton tells on stderr what then is left.
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code)


if __name__ == "__main__":
    main()
