"""Connecting to a Ray cluster."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import secrets
import signal
import socket
import tempfile
from collections.abc import Iterator
from typing import Any

import ray
from ray.exceptions import RayError

from resnet_repro.base.errors import ConfigError, plain

__all__ = ["Log", "connected", "own_folder"]

ANSWERING = 10.0  # seconds that a cluster gets to answer
LOCAL_OBJECTS = 100_000_000  # bytes for the object store of a cluster started here
LONGEST = 24  # characters of a folder for Ray's sockets, whose paths may have at most 103
SHORT = "/tmp"  # noqa: S108 - used if the system's temporary folder has a longer name

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
    """Connect to a cluster; start one on this machine if none is named and none runs here.

    Raises:
        ConfigError: nothing answers at the address, or a token is needed or cannot be had.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing goes out
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    named = address or os.environ.get("RAY_ADDRESS")
    folders = contextlib.ExitStack()
    try:
        if named not in (None, "auto", "local"):
            _check_reachable(str(named))
        if named == "local" or not _connect(named, quiet):
            _start_here(quiet, folders.enter_context(own_folder()))
        for number, handler in before.items():
            signal.signal(number, handler)  # Ray has replaced them
        yield
    finally:
        ray.shutdown()
        folders.close()


def own_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder for sockets and logs of a cluster started here; Ray's own may be another user's."""
    place = tempfile.gettempdir()
    folder = place if len(place) <= LONGEST else SHORT
    return tempfile.TemporaryDirectory(prefix="ray-", dir=folder, ignore_cleanup_errors=True)


def _connect(named: str | None, quiet: dict[str, Any]) -> bool:
    """Connect to the named cluster, or to the one on this machine; False if none runs here.

    Raises:
        ConfigError: the named one does not answer, or a token is needed.
    """
    try:
        ray.init(address=named or "auto", **quiet)
    except (ConnectionError, ValueError, RuntimeError, TimeoutError, RayError) as error:
        if "AuthenticationError" in f"{error!r} {error.__cause__!r}":
            where = plain(named, 80) if named else "on this machine"
            raise ConfigError(
                f"the Ray cluster {where} asks for its token: export RAY_AUTH_MODE=token, with the "
                "cluster's token in ~/.ray/auth_token (--launcher ray:local starts another cluster)"
            ) from error
        if named is not None:
            raise _unreachable(named) from error
        return False
    return True


def _start_here(quiet: dict[str, Any], folder: str) -> None:
    """Start a cluster that can be reached only from this machine, and only with its token.

    `folder` is for its sockets and logs. Raises ConfigError if this Ray knows no tokens.
    """
    from ray._private import ray_constants

    # Lower priority is for machines with several users.
    os.environ.setdefault("RAY_worker_niceness", "0")
    if "RAY_AUTH_MODE" not in os.environ:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # of this cluster, in no file
        loaded: Any = ray._raylet
        try:
            loaded.Config.initialize("")  # it was read from the environment before
            loaded.AuthenticationTokenLoader.instance().reset_cache()
        except AttributeError as error:  # Ray before 2.52
            raise ConfigError(
                f"Ray {ray.__version__} cannot start a cluster that asks for a token: "
                "pip install 'resnet-repro[ray]' brings one that can"
            ) from error
    # As Ray does on Windows and macOS: listen on 127.0.0.1 instead of on all addresses.
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        ray.init(
            address="local",
            include_dashboard=False,
            object_store_memory=LOCAL_OBJECTS,
            _temp_dir=folder,
            **quiet,
        )
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _check_reachable(address: str) -> None:
    """Try the port first, since Ray itself tries for minutes and cannot be interrupted.

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
        f"no Ray cluster answers at {plain(address, 80)}, or this machine is not part of it; an "
        "address is HOST:PORT, ray start --head starts a cluster, and on other machines ray start "
        "--address=HOST:PORT joins it"
    )
