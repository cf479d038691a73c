"""The life of a worker process, from the fork to its end."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import sys

import msgspec
import uvloop

from protocol.link import Adopt, Command, Frame
from sandbox_backends import prctl, scheduling, tree
from workers.catalog import CatalogService
from workers.host.service import HostService
from workers.link import Link
from workers.stacks import stack_path
from workers.thread import ThreadService

__all__ = ["LIFELINE_CUT", "STARTUP_FAILURE", "run"]

STARTUP_FAILURE = 70
"""It failed before it was connected: it would fail the same way again."""
LIFELINE_CUT = 75
"""The front is gone, so nobody needs us any more."""
_adopt = msgspec.json.Decoder(Adopt).decode
_command = msgspec.json.Decoder(Command).decode


def run(token: bytes, endpoint: str, lifeline: int, stacks: str, nice: int) -> int:
    """Connect, wait to be adopted, serve; the exit code."""
    os.setsid()
    os.nice(nice)
    scheduling.be_prompt()
    # Ctrl-C is the front's to handle. Not SIG_IGN: commands would inherit that, and no Ctrl-C of their own would end them.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    prctl.become_subreaper()
    prctl.set_name("bulkhead-parked")
    with open(stack_path(stacks, os.getpid()), "ab", buffering=0) as stack_file:
        faulthandler.register(signal.SIGUSR1, file=stack_file, all_threads=True)
        loop = uvloop.new_event_loop()
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(_serve(token, endpoint, lifeline, loop))


def _print_to(path: str) -> None:
    """What is printed, by us or by what we start, belongs to the thread from now on."""
    if not path:
        return
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        print(f"no log for this worker: {error}", file=sys.stderr)
        return
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)


async def _serve(token: bytes, endpoint: str, lifeline: int, loop: asyncio.AbstractEventLoop) -> int:
    ended: asyncio.Future[int] = loop.create_future()
    link = Link(token, endpoint, loop)
    service: ThreadService | CatalogService | HostService | None = None

    def end(code: int) -> None:
        if not ended.done():
            ended.set_result(code)

    def lifeline_cut() -> None:
        # No clean-up that could hang: the commands are ended, everything else is in files already.
        tree.kill_descendants(os.getpid())
        os._exit(LIFELINE_CUT)

    def on_frame(kind: int, number: int, payload: bytes) -> None:
        nonlocal service
        if kind == Frame.ADOPT and service is None:
            adopt = _adopt(payload)
            _print_to(adopt.log)
            prctl.set_name(f"bulkhead {adopt.thread_id[-8:] or adopt.role}")
            try:
                link.begin(adopt.credit, adopt.event_log)
            except OSError as error:
                # Without a log it may say nothing, and whoever waits for it would wait for ever.
                print(f"no event log: {error}", file=sys.stderr, flush=True)
                end(STARTUP_FAILURE)
                return
            if adopt.role == "thread":
                service = ThreadService(adopt, link, loop, end)
            elif adopt.role == "host":
                service = HostService(adopt, link, loop)
            else:
                service = CatalogService(adopt, link, loop)
        elif ended.done():
            return  # its last word is the reason
        elif service is None:
            print(f"frame {kind} before adoption", file=sys.stderr)
        elif kind == Frame.COMMAND:
            service.command(number, _command(payload))
        elif kind == Frame.ANSWER:
            service.answer(number, payload)
        elif kind == Frame.STOP:
            service.stop(payload)
        elif kind == Frame.SLEEP and isinstance(service, ThreadService):
            service.sleep()
        elif kind == Frame.SKILLS and isinstance(service, ThreadService):
            service.skills_changed = True
        elif kind == Frame.HOLD and isinstance(service, ThreadService):
            service.hold(held=bool(number))
        elif kind == Frame.RELOAD and isinstance(service, ThreadService):
            service.mcp.reload(payload)

    link.on_frame = on_frame
    loop.add_reader(lifeline, lifeline_cut)
    link.hello(os.getpid())
    code = await ended
    link.close()
    return code
