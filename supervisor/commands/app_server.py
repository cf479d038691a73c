"""`bulkhead app-server`: the server itself."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import resource
import signal
import sys

import uvloop

from config.errors import ConfigError
from config.home import find_home
from supervisor import exit_codes, logs
from supervisor.commands import generate
from supervisor.commands.operations import OPERATIONS
from supervisor.configuration import Configuration, Flags
from supervisor.control import ControlServer
from supervisor.front import Front
from supervisor.runtime import RuntimeDirectory, UnsafeRuntimeDirectory
from supervisor.version import VERSION

log = logging.getLogger("bulkhead")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--listen", default="stdio://", metavar="URL", help="where clients come from (stdio://)"
    )
    parser.add_argument("--stdio", action="store_true", help="the same as --listen stdio://")
    parser.add_argument(
        "-c", "--config", dest="late_config", action="append", default=[], metavar="KEY=VALUE",
        help="override a setting; the value is TOML",
    )  # fmt: skip
    parser.add_argument("--profile", "-p", dest="late_profile", metavar="NAME", help="use [profiles.NAME]")
    parser.add_argument("--enable", dest="late_enable", action="append", default=[], metavar="FEATURE")
    parser.add_argument("--disable", dest="late_disable", action="append", default=[], metavar="FEATURE")
    generate.arguments(parser)


def run(options: argparse.Namespace) -> int:
    if options.generate:
        return generate.run(options)
    if options.listen != "stdio://":
        print(f"unsupported --listen URL `{options.listen}`; expected `stdio://`", file=sys.stderr)
        return exit_codes.USAGE
    logs.set_up()
    try:
        flags = Flags(
            overrides=(*options.config, *options.late_config),
            profile=options.late_profile or options.profile,
            enable=(*options.enable, *options.late_enable),
            disable=(*options.disable, *options.late_disable),
        )
        configuration = Configuration(find_home(os.environ), flags)
        runtime = RuntimeDirectory()
    except ConfigError as error:
        print(f"bulkhead: {error}", file=sys.stderr)
        return exit_codes.CONFIG
    except (OSError, UnsafeRuntimeDirectory) as error:
        print(f"bulkhead: {error}", file=sys.stderr)
        return exit_codes.FAILED
    try:
        _raise_limits()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(configuration, runtime))
    finally:
        runtime.remove()
    return exit_codes.OK


def _raise_limits() -> None:
    """A worker costs a few descriptors; the soft limit of most systems is for interactive programs."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold credentials


async def _serve(configuration: Configuration, runtime: RuntimeDirectory) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stopped.set)
    front = Front(configuration, runtime)
    runtime.describe(home=configuration.home, argv=sys.argv, version=VERSION)
    control = ControlServer(front, runtime.control_socket, OPERATIONS)
    # The protocol's descriptors are ours alone: a stray print anywhere goes to stderr instead.
    read_fd, write_fd = os.dup(0), os.dup(1)
    os.dup2(2, 1)
    front.start()
    await control.start()
    connection = front.attach("stdio", read_fd, write_fd, lambda _: stopped.set())
    gc.freeze()
    await stopped.wait()
    await control.close()
    # A script may write its requests, close its end, and read the answers then.
    await front.settle()
    await front.close()
    connection.outbox.close()
