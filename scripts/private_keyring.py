"""A real Secret Service with a bus of its own: gnome-keyring, unlocked, for as long as it is needed."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

__all__ = ["PROGRAMS", "PrivateKeyring", "missing_program", "private_keyring"]

PROGRAMS = {"dbus-daemon": "dbus", "gnome-keyring-daemon": "gnome-keyring"}
"""What it takes, and the Debian package that each is of."""
_PASSWORD = b"test"
_NOT_FOR_IT = ("DISPLAY", "WAYLAND_DISPLAY")
"""With a screen the daemon would ask the person in front of it."""


class PrivateKeyring:
    """`env` is what a program needs to find it; `daemon` the process, to be stopped or killed."""

    def __init__(self, folder: Path, environ: Mapping[str, str], processes: contextlib.ExitStack) -> None:
        address = f"unix:path={folder}/bus"
        self.env = {
            "XDG_RUNTIME_DIR": str(folder),
            "HOME": str(folder),
            "DBUS_SESSION_BUS_ADDRESS": address,
        }
        self._environ = {name: value for name, value in environ.items() if name not in _NOT_FOR_IT} | self.env
        self._processes = processes
        bus = [
            "dbus-daemon",
            "--session",
            "--nofork",
            "--nopidfile",
            f"--address={address}",
            "--print-address",
        ]
        self._begin(bus)
        self.start()

    def start(self) -> None:
        """Begin a daemon, unlocked and with what the last one kept. The last one has ended."""
        # It has taken its name on the bus when it says its first line.
        keyring = ["gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets"]
        self.daemon = self._begin(keyring, _PASSWORD)

    def _begin(self, argv: list[str], words: bytes = b"") -> subprocess.Popen[bytes]:
        """A process that has said its first line."""
        process = self._processes.enter_context(
            subprocess.Popen(
                argv,
                env=self._environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        )
        self._processes.callback(process.kill)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(words)
        process.stdin.close()
        process.stdout.readline()
        return process


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
    with contextlib.ExitStack() as processes:
        yield PrivateKeyring(folder, environ, processes)
