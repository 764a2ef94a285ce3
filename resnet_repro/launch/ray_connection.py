"""Connecting to a Ray cluster."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from typing import Any

import ray

from resnet_repro.errors import ConfigError, plain

__all__ = ["Log", "connected", "own_folder"]

ANSWERING = 10.0  # seconds that a cluster gets to answer
LOCAL_OBJECTS = 100_000_000  # bytes for the object store of a cluster started here
LONGEST = 24  # characters of a folder in which Ray's sockets have room; their paths may have 103
SHORT = "/tmp"  # noqa: S108 - where the system's temporary folder has a longer name

_log = logging.getLogger(__name__)


class Log(io.TextIOBase):
    """A stream whose lines go to the log (`-v`)."""

    def write(self, text: str) -> int:
        for line in text.splitlines():
            if line.strip():
                _log.debug("%s", line)
        return len(text)


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Connect to a cluster, or start one on this machine if none is named and none runs here.

    Raises:
        ConfigError: nothing answers at the address.
    """
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing goes out
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    named = address or os.environ.get("RAY_ADDRESS")
    folders = contextlib.ExitStack()
    try:
        if named not in (None, "auto", "local"):
            _check_reachable(str(named))
        try:
            ray.init(address=named or "auto", **quiet)
        except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
            if named is not None:
                raise _unreachable(named) from error
            # On this machine alone there is nobody to make way for.
            os.environ.setdefault("RAY_worker_niceness", "0")
            ray.init(
                address="local",
                include_dashboard=False,
                object_store_memory=LOCAL_OBJECTS,
                _temp_dir=folders.enter_context(own_folder()),
                **quiet,
            )
        for number, handler in before.items():
            signal.signal(number, handler)  # Ray puts its own in their place
        yield
    finally:
        ray.shutdown()
        folders.close()


@contextlib.contextmanager
def own_folder() -> Iterator[str]:
    """A folder for sockets and logs of a cluster started here; Ray's own may be another user's."""
    place = tempfile.gettempdir()
    folder = tempfile.mkdtemp(prefix="ray-", dir=place if len(place) <= LONGEST else SHORT)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check_reachable(address: str) -> None:
    """Try the port first, for Ray itself tries for minutes and cannot be interrupted.

    Raises:
        ConfigError: nothing answers.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWERING).close()
    except (OSError, ValueError, OverflowError) as error:
        raise _unreachable(address) from error


def _unreachable(address: str) -> ConfigError:
    return ConfigError(
        f"no Ray cluster answers at {plain(address, 80)}; an address is HOST:PORT, and "
        "ray start --head starts a cluster"
    )
