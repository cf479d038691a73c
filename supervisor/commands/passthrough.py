"""Running one plan on our own standard input, output, error and terminal."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import termios
import threading
import tty

from sandbox_backends.command import DEFAULT_GRACE_S, RunningCommand
from sandbox_backends.errors import SandboxError, StdinError
from sandbox_backends.landlock import Landlock
from sandbox_backends.plan import ExecPlan
from sandbox_backends.prctl import become_subreaper
from sandbox_backends.result import ExecResult
from sandbox_backends.runner import run_with_plan
from supervisor import exit_codes

__all__ = ["attach", "complain", "on_terminal", "window"]

CHUNK = 1 << 16
DEFAULT_WINDOW = (24, 80)
ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_PR_SET_PDEATHSIG = 1


def on_terminal() -> bool:
    return os.isatty(0) and os.isatty(1)


def window() -> tuple[int, int] | None:
    """(rows, columns) of the terminal we are on."""
    try:
        size = os.get_terminal_size(0)
    except OSError:
        return None
    return (size.lines, size.columns) if size.lines and size.columns else None


def complain(text: str) -> None:
    print(f"sandbox: {text}", file=sys.stderr, flush=True)


def attach(made: ExecPlan) -> int:
    """Run the plan here; the command's exit code. We are a subreaper already."""
    saved = termios.tcgetattr(0) if made.stdin == "pty" else None
    try:
        if saved is not None:
            tty.setraw(0)
        if made.backend == Landlock.name:
            return _below_warden(made)
        return asyncio.run(_run(made))
    finally:
        if saved is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, saved)


def _below_warden(made: ExecPlan) -> int:
    """Run it in a child that outlives us just long enough to end the command.

    Without a pid namespace nothing else would, if we were killed with SIGKILL.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        code = exit_codes.NOT_STARTED
        try:
            os.setsid()
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
            if os.getppid() == parent:
                become_subreaper()
                code = asyncio.run(_run(made))
        except SandboxError as error:
            complain(str(error))
        finally:
            sys.stdout.flush()
            os._exit(code)
    for number in (*ENDING_SIGNALS, signal.SIGWINCH):
        signal.signal(number, lambda number, _: os.kill(pid, number))
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else exit_codes.SIGNALLED - code


async def _run(made: ExecPlan) -> int:
    loop = asyncio.get_running_loop()
    parent = os.getppid()
    command = await run_with_plan(
        made, lambda data: _write_all(1, data), on_stderr=lambda data: _write_all(2, data)
    )
    ending: set[asyncio.Task[ExecResult]] = set()

    def end() -> None:
        # Nobody is left to wait for an orphan's manners.
        grace = DEFAULT_GRACE_S if os.getppid() == parent else 0
        ending.add(loop.create_task(command.end(grace)))

    for number in ENDING_SIGNALS:
        loop.add_signal_handler(number, end)
    if made.stdin == "pty":
        loop.add_signal_handler(signal.SIGWINCH, lambda: command.resize(*(window() or DEFAULT_WINDOW)))
    threading.Thread(target=_pump, args=(command, loop), daemon=True).start()
    result = await command.wait()
    if ending:
        await asyncio.wait(ending)
    _tell(result)
    return result.exit_code


def _tell(result: ExecResult) -> None:
    if result.setup_failed is not None:
        remedy = f" ({result.setup_failed.remedy})" if result.setup_failed.remedy else ""
        complain(f"could not be set up{remedy}")
    if result.restored:
        complain(f"protected paths restored: {'; '.join(result.restored)}")


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
