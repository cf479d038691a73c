"""The command line: `bulkhead COMMAND`. Each command is a module of its own; only the one that is used is imported."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from supervisor import exit_codes
from supervisor.version import VERSION

__all__ = ["COMMANDS", "main", "options_of"]

COMMANDS = {
    "app-server": "serve the Codex app-server protocol on stdin and stdout",
    "login": "log in with ChatGPT or an API key; `login status` says who is",
    "logout": "revoke and delete the login",
    "ps": "list threads: state, process, memory, turn",
    "top": "watch the busiest threads",
    "inspect": "tell everything about a thread",
    "stack": "tell where a thread's worker is, or where it hung",
    "logs": "print what a thread's workers print; -f goes on",
    "events": "print what supervision did and why; -f goes on",
    "kill": "end a thread's worker at once; the thread gets a new one",
    "restart": "end a thread's worker in order and give it a new one; releases a quarantine",
    "sandbox": "run one command as a thread with that policy would",
    "doctor": "say what works on this machine, what does not, why, and the fix",
    "pause": "stop a thread's worker and its commands where they are",
    "resume": "let a paused thread go on",
    "drain": "let turns end, then end the workers: of a thread, or of the whole server",
    "replace": "give all threads new workers, each when its turn has ended",
    "quarantine": "release a thread whose workers died too often",
    "reap": "end what servers that were killed left behind",
    "metrics": "print the server's figures for Prometheus",
    "completion": "print a script that completes commands in bash, zsh or fish",
    "model-server": "run the scripted model server, for demos and tests",
}


def _module(command: str) -> ModuleType:
    return importlib.import_module("supervisor.commands." + command.replace("-", "_"))


def _parser(command: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bulkhead",
        description="An app server for coding agents: every conversation thread in a process of its own.",
        epilog="`bulkhead COMMAND --help` explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"bulkhead {VERSION}")
    # Clients of the peer put these before the subcommand too.
    parser.add_argument(
        "-c", "--config", action="append", default=[], metavar="KEY=VALUE", help=argparse.SUPPRESS
    )
    parser.add_argument("--profile", "-p", help=argparse.SUPPRESS)
    parser.add_argument("--enable", action="append", default=[], help=argparse.SUPPRESS)
    parser.add_argument("--disable", action="append", default=[], help=argparse.SUPPRESS)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        sub = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if name == command:
            _module(name).arguments(sub)
    return parser


def options_of(command: str) -> tuple[list[str], bool]:
    """The flags and fixed words of a command, and whether it takes a thread; for shell completion."""
    parser = argparse.ArgumentParser(add_help=False)
    _module(command).arguments(parser)
    actions = parser._actions  # noqa: SLF001  (argparse has no other way to list them)
    flags = [flag for action in actions for flag in action.option_strings]
    words = [word for action in actions if not action.option_strings for word in action.choices or ()]
    return flags + words, any(action.dest == "thread" for action in actions)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code (see `supervisor.exit_codes`)."""
    words = list(sys.argv[1:] if argv is None else argv)
    command = next((word for word in words if word in COMMANDS), None)
    options = _parser(command).parse_args(words)
    try:
        code: int = _module(options.command).run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read has seen enough. The interpreter would try the rest once more, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return exit_codes.OK
    return code
