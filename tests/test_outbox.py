"""What waits for a client that reads slowly, and in which order it goes."""

from __future__ import annotations

import asyncio
import os

import pytest

from supervisor.outbox import CHUNK_BYTES, Outbox

LANES, PIECES, PIECE = 60, 10, b"x" * 4095 + b"\n"
PIPE_BYTES = 65536


def read_all(fd: int, until: bytes) -> bytes:
    read = b""
    while until not in read:
        read += os.read(fd, PIPE_BYTES)
    return read


@pytest.mark.parametrize("first", [True, False])
def test_the_word_on_a_death_waits_for_its_own_thread_alone(first):
    last = f"{LANES - 1}:"

    async def main() -> bytes:
        ours, theirs = os.pipe()
        outbox = Outbox(theirs, lambda: None)
        for number in range(LANES):
            for _ in range(PIECES):
                outbox.push(f"{number}:", f"{number}:".encode() + PIECE)
        await asyncio.sleep(0)  # as much as goes into the pipe has gone
        outbox.push(last, b"ended\n", first=first)
        read = await asyncio.get_running_loop().run_in_executor(None, read_all, ours, b"ended\n")
        outbox.discard()
        outbox.close()
        os.close(ours)
        os.close(theirs)
        return read

    read = asyncio.run(main())
    assert read.count(last.encode()) == PIECES  # nothing of its own is left behind
    at_most = PIPE_BYTES + CHUNK_BYTES + (PIECES + 2) * len(PIECE) + PIPE_BYTES
    assert (len(read) < at_most) is first
