"""Numbers on the command line: what argparse's own types let through would fail later, or never end."""

from __future__ import annotations

import argparse

__all__ = ["count", "lines", "pause", "seconds"]

LONGEST_S = 10 * 365 * 86400.0
"""More than anybody waits, and less than a socket's timeout may be."""


def seconds(text: str) -> float:
    """From 0 on."""
    return _seconds(text, at_least=0.0)


def pause(text: str) -> float:
    """Seconds between two looks: none at all would take a processor."""
    return _seconds(text, at_least=0.01)


def lines(text: str) -> int:
    return _whole(text, at_least=0)


def count(text: str) -> int:
    return _whole(text, at_least=1)


def _seconds(text: str, *, at_least: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not at_least <= value <= LONGEST_S:  # nor what is no number (nan)
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from {at_least:g} on")
    return value


def _whole(text: str, *, at_least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < at_least:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {at_least} on")
    return value
