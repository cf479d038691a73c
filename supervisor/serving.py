"""The server as a process: its set-up, its signals, its end."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import uvloop

from config.errors import ConfigError
from config.flags import Flags
from config.home import find_home
from sandbox_backends.scheduling import be_prompt
from supervisor import exit_codes, logs
from supervisor.commands.operations import OPERATIONS
from supervisor.configuration import Configuration
from supervisor.control import ControlServer
from supervisor.front import Front
from supervisor.listeners import options as listeners
from supervisor.listeners.address import ListenError
from supervisor.listeners.bearer import BearerError
from supervisor.listeners.stdio import StdioListener
from supervisor.runtime import RuntimeDirectory, UnsafeRuntimeDirectory
from supervisor.version import VERSION
from supervisor.zygote_process import Zygote

__all__ = ["run"]

log = logging.getLogger("bulkhead")

addresses = logging.getLogger("bulkhead.listeners.addresses")
addresses.setLevel(logging.INFO)  # always said: with port 0 nobody could find the server otherwise


SWITCH_S = 0.0005
"""How long a busy loop keeps threads from the interpreter. With Python's 5 ms each system call of a thread that stores the
end of a dead worker's turn would cost it as much."""


def run(options: argparse.Namespace, zygote: Zygote) -> int:
    """Serve until told to stop; the exit code. `zygote` is the first one: it waits for its orders."""
    logs.set_up()
    with ExitStack() as undo:
        undo.callback(zygote.discard)
        try:
            home = find_home(os.environ)
            listening = listeners.chosen(options, home)
            flags = Flags(
                overrides=(*options.config, *options.late_config),
                profile=options.late_profile or options.profile,
                enable=(*options.enable, *options.late_enable),
                disable=(*options.disable, *options.late_disable),
            )
            configuration = Configuration(home, flags)
            runtime = RuntimeDirectory()
        except ConfigError as error:
            print(f"bulkhead: {error}", file=sys.stderr)
            return exit_codes.CONFIG
        except (ListenError, BearerError) as error:
            print(f"bulkhead: {error}", file=sys.stderr)
            return exit_codes.USAGE
        except (OSError, UnsafeRuntimeDirectory) as error:
            print(f"bulkhead: {error}", file=sys.stderr)
            return exit_codes.FAILED
        undo.pop_all()
    be_prompt()
    sys.setswitchinterval(SWITCH_S)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(configuration, runtime, listening, zygote))
    except ListenError as error:
        print(f"bulkhead: {error}", file=sys.stderr)
        return exit_codes.FAILED
    finally:
        runtime.remove()
    return exit_codes.OK


async def _serve(
    configuration: Configuration, runtime: RuntimeDirectory, listening: listeners.Listening, zygote: Zygote
) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stopped.set)
    # Its threads are as prompt as the loop: one that is put aside while it has the interpreter holds the loop up.
    loop.set_default_executor(ThreadPoolExecutor(thread_name_prefix="pool", initializer=be_prompt))
    front = Front(configuration, runtime, zygote)
    control = ControlServer(front, runtime.control_socket, OPERATIONS)
    # The protocol's descriptors are ours alone: a stray print anywhere goes to stderr instead.
    stdio = os.dup(0), os.dup(1)
    os.dup2(2, 1)
    front.start()
    await control.start()
    # Whoever finds the server asks it at once, so it is not to be found before it listens.
    runtime.describe(home=configuration.home, argv=sys.argv, version=VERSION)
    opened: list[listeners.Listener] = []
    try:
        # Who started us on a pipe owns us: its end is the server's, whoever else is attached.
        opened = listeners.open_listeners(front, listening, stdio, stopped.set)
        for listener in opened:
            if not isinstance(listener, StdioListener):
                addresses.info("listening: %s", listener.url)
        gc.freeze()
        gc.enable()
        await stopped.wait()
    finally:
        for listener in opened:
            listener.close()
        await control.close()
        # A script may write its requests, close its end, and read the answers then.
        await front.settle()
        await front.close()
        for listener in opened:
            listener.let_go()
