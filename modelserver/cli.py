"""The command line of the scripted model: `python -m modelserver`, `bulkhead model-server`."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from modelserver.errors import ExposedHostError
from modelserver.server import LOG_LEVELS, listen, serve

__all__ = ["add_arguments", "main", "run"]

_USAGE_ERROR = 2
_LARGEST_PORT = 65535


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options, for this command or for a subcommand of another one."""
    parser.add_argument("--host", default="127.0.0.1", help="loopback address to listen on (%(default)s)")
    parser.add_argument("--port", type=_port, default=0, help="port; 0 takes a free one (default)")
    parser.add_argument("--port-file", type=Path, help="file that holds the port while the server listens")
    parser.add_argument("--log-level", choices=LOG_LEVELS, default="warning", help="of stderr (%(default)s)")
    parser.add_argument("--end-with-stdin", action="store_true", help="end when standard input ends")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server. Returns 0 after a signal, 2 for an address that it cannot or must not listen on."""
    parser = argparse.ArgumentParser(
        prog="modelserver",
        description="A scripted model: an HTTP server on loopback that speaks the Responses API and the Chat "
        "Completions API, and plays the directives in the user's text. It understands nothing else.",
        epilog="Prints one JSON line, {'url': ...}, when it listens. See docs/scripted-model.md.",
    )
    add_arguments(parser)
    return run(parser.parse_args(argv))


def run(options: argparse.Namespace) -> int:
    """Do what `main` does, with the options of `add_arguments`."""
    try:
        listener = listen(options.host, options.port)
    except (ExposedHostError, OSError) as error:
        print(f"modelserver: {error}", file=sys.stderr)
        return _USAGE_ERROR
    with listener, contextlib.ExitStack() as cleanup:

        def ready() -> None:
            if options.port_file is not None:
                _publish(options.port_file, listener.getsockname()[1])
                cleanup.callback(options.port_file.unlink, missing_ok=True)
            print(json.dumps({"url": _url(listener)}), flush=True)

        serve(listener, ready, log_level=options.log_level, end_with_stdin=options.end_with_stdin)
    return 0


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > _LARGEST_PORT:
        raise argparse.ArgumentTypeError(f"{text} is no port")
    return int(text)


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"


def _publish(path: Path, port: int) -> None:
    """Write the file in one step: whoever finds it finds the whole number in it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(f"{port}\n", encoding="ascii")
    draft.replace(path)
