"""A real Secret Service with a bus of its own: gnome-keyring, unlocked, for as long as it is needed."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

__all__ = ["PROGRAMS", "PrivateKeyring", "missing_program", "private_keyring"]

PROGRAMS = {"dbus-daemon": "dbus", "gnome-keyring-daemon": "gnome-keyring"}
"""What it takes, and the Debian package that each is of."""
_PASSWORD = b"test"
_NOT_FOR_IT = ("DISPLAY", "WAYLAND_DISPLAY")
"""With a screen the daemon would ask the person in front of it."""


class PrivateKeyring(msgspec.Struct):
    """`env` is what a program needs to find it; `daemon` the process, to be stopped or killed."""

    env: dict[str, str]
    daemon: subprocess.Popen[bytes]


def missing_program() -> str | None:
    """Why there can be none here, if so."""
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            return f"there is no {program} here (Debian: {package})"
    return None


@contextlib.contextmanager
def private_keyring(folder: Path, environ: Mapping[str, str] = os.environ) -> Iterator[PrivateKeyring]:
    """Keeps all it makes in `folder`, whose path must be short enough for a socket."""
    folder.chmod(0o700)
    address = f"unix:path={folder}/bus"
    own = {"XDG_RUNTIME_DIR": str(folder), "HOME": str(folder), "DBUS_SESSION_BUS_ADDRESS": address}
    env = {name: value for name, value in environ.items() if name not in _NOT_FOR_IT} | own
    with contextlib.ExitStack() as processes:
        bus = [
            "dbus-daemon",
            "--session",
            "--nofork",
            "--nopidfile",
            f"--address={address}",
            "--print-address",
        ]
        _started(processes, bus, env)
        # It gives no word after this line, and has taken its name on the bus by then.
        keyring = ["gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets"]
        yield PrivateKeyring(own, _started(processes, keyring, env, _PASSWORD))


def _started(
    processes: contextlib.ExitStack, argv: list[str], env: dict[str, str], words: bytes = b""
) -> subprocess.Popen[bytes]:
    """The process, when it has said its first line."""
    process = processes.enter_context(
        subprocess.Popen(
            argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    )
    processes.callback(process.kill)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(words)
    process.stdin.close()
    process.stdout.readline()
    return process
