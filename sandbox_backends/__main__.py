"""`python -m sandbox_backends [options] -- COMMAND...`: run one command as a thread with that policy would.

Standard input, output and error are passed through, the exit code is the command's. On a terminal the command gets a
terminal of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import termios
import threading
import tty
from collections.abc import Sequence

from protocol.policy import DangerFullAccess, ReadOnly, SandboxPolicy, WorkspaceWrite
from sandbox_backends.command import RunningCommand
from sandbox_backends.errors import SandboxError, StdinError
from sandbox_backends.plan import ExecPlan, audit
from sandbox_backends.planner import plan
from sandbox_backends.runner import run_with_plan
from sandbox_backends.tree import become_subreaper
from sandbox_backends.view import Pin

__all__ = ["main"]

REFUSED = 125
CHUNK = 1 << 16


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="sandbox", description="Run a command in the sandbox of a policy.")
    parser.add_argument(
        "--policy", choices=("readOnly", "workspaceWrite", "dangerFullAccess"), default="readOnly"
    )
    parser.add_argument("--network", choices=("0", "1"), default="0")
    parser.add_argument("--cwd", default=os.getcwd())
    parser.add_argument("--writable-root", action="append", default=[], metavar="DIR")
    parser.add_argument("--pin", metavar="DEV:INO", help="identity the workspace must have")
    parser.add_argument("--timeout-ms", type=int)
    parser.add_argument("--plan", action="store_true", help="print the plan instead of running it")
    parser.add_argument("command", nargs="+")
    return parser.parse_args(argv)


def _policy(options: argparse.Namespace) -> SandboxPolicy:
    network = options.network == "1"
    if options.policy == "dangerFullAccess":
        return DangerFullAccess()
    if options.policy == "readOnly":
        return ReadOnly(network_access=network)
    return WorkspaceWrite(writable_roots=tuple(options.writable_root), network_access=network)


def _pins(options: argparse.Namespace) -> tuple[Pin, ...]:
    if options.pin is None:
        return ()
    dev, _, ino = options.pin.partition(":")
    return (Pin(options.cwd, int(dev), int(ino)),)


def _size() -> tuple[int, int] | None:
    try:
        size = os.get_terminal_size(0)
    except OSError:
        return None
    return (size.lines, size.columns) if size.lines and size.columns else None


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


async def _feed(command: RunningCommand, data: bytes) -> None:
    if data:
        command.write(data)
        await command.eased()
    else:
        command.close_stdin()


def _pump(command: RunningCommand, loop: asyncio.AbstractEventLoop) -> None:
    """Our stdin to the command's, in a thread: a regular file or /dev/null cannot be polled."""
    while True:
        try:
            data = os.read(0, CHUNK)
        except OSError:
            data = b""
        try:
            asyncio.run_coroutine_threadsafe(_feed(command, data), loop).result()
        except (StdinError, RuntimeError, asyncio.CancelledError):
            return
        if not data:
            return


async def _run(made: ExecPlan) -> int:
    loop = asyncio.get_running_loop()
    command = await run_with_plan(
        made, lambda data: _write_all(1, data), on_stderr=lambda data: _write_all(2, data)
    )
    ending: set[asyncio.Task[object]] = set()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, lambda: ending.add(loop.create_task(command.end())))
    if made.stdin == "pty":
        loop.add_signal_handler(signal.SIGWINCH, lambda: command.resize(*(_size() or (24, 80))))
    threading.Thread(target=_pump, args=(command, loop), daemon=True).start()
    result = await command.wait()
    if ending:
        await asyncio.wait(ending)
    if result.setup_failed is not None:
        remedy = f" ({result.setup_failed.remedy})" if result.setup_failed.remedy else ""
        print(f"sandbox: could not be set up{remedy}", file=sys.stderr)
    return result.exit_code


def main(argv: Sequence[str] | None = None) -> int:
    """Run; returns the exit code: the command's, or 125 where nothing was started."""
    options = _arguments(sys.argv[1:] if argv is None else argv)
    terminal = os.isatty(0) and os.isatty(1)
    become_subreaper()
    try:
        made = plan(
            options.command,
            cwd=os.path.abspath(options.cwd),
            policy=_policy(options),
            env=os.environ,
            pins=_pins(options),
            timeout_ms=options.timeout_ms,
            output_cap=0,
            streams="split",
            stdin="pty" if terminal else "pipe",
            pty_size=_size() if terminal else None,
        )
        if options.plan:
            print(audit(made).decode())
            return 0
        saved = termios.tcgetattr(0) if terminal else None
        try:
            if terminal:
                tty.setraw(0)
            return asyncio.run(_run(made))
        finally:
            if saved is not None:
                termios.tcsetattr(0, termios.TCSADRAIN, saved)
    except SandboxError as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return REFUSED


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # The thread that reads stdin may be inside read(2); an orderly exit would wait for its lock.
    os._exit(code)
