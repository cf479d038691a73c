"""What lasts of an item: its command's output within a bound, so that a page of a thread has one, too."""

from __future__ import annotations

import msgspec

from protocol.items import CommandExecutionItem, ThreadItem

__all__ = ["lasting"]

MAX_OUTPUT_BYTES = 64 * 1024
"""As the peer keeps it. Clients saw all of it when the command ended."""
GAP = b"\n\n... the middle of the output was not kept ...\n\n"


def lasting(item: ThreadItem) -> ThreadItem:
    """The item as it is stored and read again: of a long output both ends."""
    if not isinstance(item, CommandExecutionItem) or item.aggregated_output is None:
        return item
    output = item.aggregated_output.encode(errors="replace")
    if len(output) <= MAX_OUTPUT_BYTES:
        return item
    room = MAX_OUTPUT_BYTES - len(GAP)
    head, tail = output[: room - room // 2], output[len(output) - room // 2 :]
    ends = b"".join((head.decode(errors="ignore").encode(), GAP, tail.decode(errors="ignore").encode()))
    return msgspec.structs.replace(item, aggregated_output=ends.decode())
