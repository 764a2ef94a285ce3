"""Durations as people write and read them."""

from __future__ import annotations

import re

from resnet_repro.base.errors import ConfigError

__all__ = ["format_duration", "parse_duration"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST = 366 * 86400


def parse_duration(text: str) -> float:
    """Seconds of `90`, `90s`, `25m`, `1h30m` or `2d`.

    Raises:
        ConfigError: not a duration, zero, or more than a year.
    """
    clean = text.strip().lower()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", clean):
        seconds = float(clean)
    elif re.fullmatch(r"([0-9]{1,9}(\.[0-9]{1,6})?[smhd])+", clean):
        pieces = re.findall(r"([\d.]+)([smhd])", clean)
        seconds = sum(float(number) * _UNITS[unit] for number, unit in pieces)
    else:
        raise ConfigError(f"{text[:40]!r} is not a duration: write 90s, 25m or 1h30m")
    if not 0 < seconds <= _LONGEST:
        raise ConfigError(f"{text[:40]!r}: a duration is more than nothing and at most a year")
    return seconds


def format_duration(seconds: float) -> str:
    """`42s`, `12m`, `3h05m`, `2d04h`, `140d` or `2.2 years`."""
    whole = max(0, round(seconds))
    if whole < 90:
        return f"{whole}s"
    if whole < 5400:
        return f"{round(whole / 60)}m"
    if whole < 172_800:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    days = whole // 86_400
    if days < 100:
        return f"{days}d{whole % 86_400 // 3600:02d}h"
    return f"{days}d" if days < 730 else f"{whole / 86_400 / 365.25:.1f} years"
