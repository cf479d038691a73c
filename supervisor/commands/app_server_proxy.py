"""`bulkhead app-server proxy`: a client that can only start a program talks to a server that runs already."""

from __future__ import annotations

import argparse
import os
import socket
import sys
import threading

from config.home import find_home
from supervisor import exit_codes
from supervisor.listeners.address import UnixSocket, parse_listen

HELP = "pass stdin and stdout on to the unix socket of a running server"

COPY_BYTES = 256 * 1024


def arguments(tools: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand to those of `app-server`."""
    parser = tools.add_parser("proxy", help=HELP, description=HELP[0].upper() + HELP[1:] + ".")
    parser.add_argument(
        "--sock", metavar="PATH", help="the server's socket (default: that of --listen unix://)"
    )
    parser.set_defaults(tool=sys.modules[__name__])


def run(options: argparse.Namespace) -> int:
    default = parse_listen("unix://", find_home(os.environ))
    assert isinstance(default, UnixSocket)
    path = options.sock or default.path
    with socket.socket(socket.AF_UNIX) as server:
        try:
            server.connect(path)
        except OSError as error:
            print(f"bulkhead: no server answers at {path}: {error.strerror}", file=sys.stderr)
            return exit_codes.NOT_FOUND
        # A daemon: when the server has closed its end, nobody waits for our stdin.
        threading.Thread(target=_send, args=(server,), daemon=True).start()
        try:
            while data := server.recv(COPY_BYTES):
                _write(data)
        except ConnectionResetError:
            return exit_codes.FAILED
    return exit_codes.OK


def _send(server: socket.socket) -> None:
    try:
        while data := os.read(0, COPY_BYTES):
            server.sendall(data)
        server.shutdown(socket.SHUT_WR)
    except OSError:
        return  # the other direction notices


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]
