"""What belongs to the server itself: no command may write it, and some of it none may even read.

The home holds the rules that let commands run, the runtime folder the sockets that operate the server, its event logs
and the list of the processes that a later server ends. A workspace, or `/tmp`, may contain any of them.
"""

from __future__ import annotations

import os

import msgspec

__all__ = ["Own", "belongings"]

CREDENTIALS = ("auth.json", ".credentials.json")
"""Of the accounts, and of MCP servers."""


class Own(msgspec.Struct, frozen=True, kw_only=True):
    """Absolute paths; what is not there is skipped."""

    masked: tuple[str, ...] = ()
    """Nobody inside may read them, wherever they are."""
    hidden: tuple[str, ...] = ()
    """Folders that are hidden where a command could otherwise write or connect to what is in them."""
    kept: tuple[str, ...] = ()
    """Read-only, also inside a writable root, unless a root lies in them or is one of them."""


def belongings(home: str, runtime: str = "") -> Own:
    """Those of a server with this home directory and this folder for the sockets of all servers (empty: none)."""
    return Own(
        masked=tuple(os.path.join(home, name) for name in CREDENTIALS),
        hidden=(runtime,) if runtime else (),
        kept=(home,),
    )
