"""Ending workers without harm: a turn that runs is waited for, not cut off, unless there is a deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from protocol.rpc import RpcError
from supervisor.launcher import LaunchError
from supervisor.loaded import LoadedThread
from supervisor.states import State

if TYPE_CHECKING:
    from supervisor.front import Front

__all__ = ["Outcome", "drain", "replace"]

LOOK_S = 0.02
SLEEP_S = 2.0
"""A worker that falls asleep when asked needs milliseconds; one that does not has a reason to stay."""


class Outcome(msgspec.Struct):
    """Ids of threads.

    `kept`: of a drain, it was taken back; of a replacement, they have work in the background (or it has not ended), and
    nobody set a deadline.
    """

    done: list[str] = []
    interrupted: list[str] = []
    kept: list[str] = []


async def drain(front: Front, threads: list[LoadedThread], deadline_s: float | None) -> Outcome:
    """Take no new turns, wait until those that run have ended, unload. After the deadline they are interrupted."""
    outcome = Outcome()
    for thread in threads:
        thread.draining = True
        front.supervisor.hold(thread, held=True)
    front.journal.note("drain", threads=len(threads), deadline_s=deadline_s)
    await asyncio.gather(*(_drain(front, thread, deadline_s, outcome) for thread in threads))
    front.journal.note("drained", threads=len(threads), interrupted=len(outcome.interrupted))
    return outcome


async def _drain(front: Front, thread: LoadedThread, deadline_s: float | None, outcome: Outcome) -> None:
    quiet = await _quiet(thread, deadline_s, taken_back=lambda: not thread.draining)
    if front.supervisor.threads.get(thread.id) is thread:
        if not thread.draining:
            outcome.kept.append(thread.id)
            return
        if thread.state in (State.IDLE, State.BUSY):
            thread.move(State.DRAINING)
        await front.unload(thread)
    (outcome.done if quiet else outcome.interrupted).append(thread.id)


async def replace(front: Front, threads: list[LoadedThread], deadline_s: float | None) -> Outcome:
    """A new zygote, then a new worker for each thread: idle ones at once, busy ones when their turn has ended.

    A thread gets its new worker with the next request. Without a deadline nothing is interrupted.

    Raises:
        RpcError: the new zygote does not come up; nothing has changed.
    """
    outcome = Outcome()
    front.journal.note("replace", threads=len(threads), deadline_s=deadline_s)
    try:
        await front.launcher.renew()
    except LaunchError as error:
        front.journal.note("replace-failed", reason=str(error))
        raise RpcError(f"nothing was replaced: {error}") from None
    front.nursery.renew()
    await asyncio.gather(*(_replace(front, thread, deadline_s, outcome) for thread in threads))
    front.journal.note("replaced", threads=len(outcome.done), kept=len(outcome.kept))
    return outcome


async def _replace(front: Front, thread: LoadedThread, deadline_s: float | None, outcome: Outcome) -> None:
    front.supervisor.hold(thread, held=True)
    try:
        await _put_to_sleep(front, thread, deadline_s, outcome)
    finally:
        # A drain may have begun meanwhile, which goes on.
        front.supervisor.hold(thread, held=thread.draining or front.supervisor.draining)


async def _put_to_sleep(
    front: Front, thread: LoadedThread, deadline_s: float | None, outcome: Outcome
) -> None:
    incarnation = thread.incarnation
    began = time.monotonic()
    while incarnation is not None and thread.incarnation is incarnation:
        left = None if deadline_s is None else deadline_s - (time.monotonic() - began)
        if not await _quiet(thread, left):
            break
        incarnation.sleep_asked = None
        thread.goes_on = thread.facts.goal == "active"
        front.hibernation.ask(incarnation)
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(incarnation.handle.exited), SLEEP_S)
            outcome.done.append(thread.id)
            return
        if thread.busy or thread.pending:
            continue  # a new turn was quicker
        if deadline_s is None:
            outcome.kept.append(thread.id)
            return
        await asyncio.sleep(LOOK_S)
    if incarnation is not None and thread.incarnation is incarnation:
        await front.supervisor.endings.restart(thread)
        outcome.interrupted.append(thread.id)
    else:
        outcome.done.append(thread.id)  # it has had a new one meanwhile, or has none


async def _quiet(
    thread: LoadedThread, seconds: float | None, taken_back: Callable[[], bool] = lambda: False
) -> bool:
    """Wait until the thread has no turn and owes no answer; whether it came to that in time."""
    end = None if seconds is None else time.monotonic() + seconds
    while (thread.busy or thread.pending) and not taken_back():
        if end is not None and time.monotonic() >= end:
            return False
        await asyncio.sleep(LOOK_S)
    return True
