"""What a worker process does.

`python -m resnet_repro.data.photos.worker SOCKET DESCRIPTOR:SIZE ...`.
"""

from __future__ import annotations

import pickle
import sys
import traceback
from multiprocessing.connection import Connection
from typing import Any

from resnet_repro.base.errors import DataError
from resnet_repro.data.photos.shared_buffer import map_bytes


def main(arguments: list[str]) -> None:
    """Do the tasks that come through the socket until it closes."""
    connection = Connection(int(arguments[0]))
    buffers = [map_bytes(*map(int, argument.split(":"))) for argument in arguments[1:]]
    while True:
        try:
            task, task_arguments = pickle.loads(connection.recv_bytes())  # noqa: S301, from our parent
        except (EOFError, OSError):
            return
        answer: tuple[str, Any]
        try:
            answer = "done", task(buffers, *task_arguments)
        except DataError as error:
            answer = "data", str(error)
        except Exception:
            answer = "bug", traceback.format_exc()
        try:
            connection.send(answer)
        except OSError:
            return


if __name__ == "__main__":
    main(sys.argv[1:])
