"""`bulkhead app-server`: its command line. The zygote parts from this process here, before the server is imported."""

from __future__ import annotations

import argparse
import gc
import importlib
import resource
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType

from supervisor import zygote_process
from supervisor.commands import app_server_proxy, generate
from supervisor.listeners import options as listeners

TOOLS: tuple[ModuleType, ...] = (app_server_proxy, generate)
"""Commands below this one: modules whose `arguments` adds parsers with `tool` set to the module, and whose `run` runs."""

SHARED = (
    "uvloop",
    "zmq",
    "config.flags",
    "config.mcp_servers",
    "config.resolve",
    "config.warnings",
    "protocol.methods",
    "protocol.configuration",
    "protocol.link",
    "protocol.link_calls",
    "protocol.notifications",
    "protocol.refusal",
    "rollouts.failure",
    "sandbox_backends",
    "sandbox_backends.identity",
    "sandbox_backends.scheduling",
    "workers.stacks",
)
"""What a server needs as well as its zygote: imported before the two part, so that it is paid for once."""


def arguments(parser: argparse.ArgumentParser) -> None:
    listeners.add_arguments(parser)
    parser.add_argument(
        "-c", "--config", dest="late_config", action="append", default=[], metavar="KEY=VALUE",
        help="override a setting; the value is TOML",
    )  # fmt: skip
    parser.add_argument("--profile", "-p", dest="late_profile", metavar="NAME", help="use [profiles.NAME]")
    parser.add_argument("--enable", dest="late_enable", action="append", default=[], metavar="FEATURE")
    parser.add_argument("--disable", dest="late_disable", action="append", default=[], metavar="FEATURE")
    parser.set_defaults(tool=None)
    tools = parser.add_subparsers(metavar="COMMAND")
    for module in TOOLS:
        module.arguments(tools)


def run(options: argparse.Namespace) -> int:
    if options.tool is not None:
        tool: ModuleType = options.tool
        code: int = tool.run(options)
        return code
    _raise_limits()
    _leave_memory_out_of_dumps()
    # Imports make much and drop little: collections would only look at all of it again and again.
    gc.disable()
    for name in SHARED:
        importlib.import_module(name)
    zygote = zygote_process.fork()
    serve: Callable[[argparse.Namespace, zygote_process.Zygote], int]
    serve = importlib.import_module("supervisor.serving").run
    return serve(options, zygote)


def _raise_limits() -> None:
    """A worker costs a few descriptors; the soft limit of most systems is for interactive programs."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _leave_memory_out_of_dumps() -> None:
    """Credentials are in it. The limit holds for files; a program that the system pipes dumps to goes by the filter."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError), open("/proc/self/coredump_filter", "w") as kinds:
        kinds.write("0")
