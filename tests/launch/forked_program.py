"""The program of `forked_python.ForkedPython`; it imports little, for it is started often."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path

SOCKET = "socket"
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


def main(folder: str, python: str, modules: str, *argv: str) -> None:
    """Run `python ARGV`, by the server in `folder` if it is for one of the modules."""
    words = [word for word in argv if word != "-u"]
    if words[0] != "-m" or words[1] not in modules.split():
        os.execv(python, [python, *argv])
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
    request = {
        "argv": words[1:],
        "folder": str(Path.cwd()),
        "environment": dict(os.environ),
        "leads_session": os.getsid(0) == os.getpid(),
    }
    server = socket.socket(socket.AF_UNIX)
    os.chdir(folder)
    server.connect(SOCKET)
    socket.send_fds(server, [b"."], [0, 1, 2])
    server.sendall(json.dumps(request).encode() + b"\n")
    answers = server.makefile("rb")
    pid = int(answers.readline())
    for number in PASSED_ON:
        signal.signal(number, lambda given, _: os.kill(pid, given))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
    code = int(answers.readline())
    if code < 0:
        if -code in PASSED_ON:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
