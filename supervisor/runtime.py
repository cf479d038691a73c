"""The runtime directory of one server: its sockets, event logs and identity, for this user alone.

$XDG_RUNTIME_DIR/bulkhead/ or <tmp>/bulkhead-UID/     0700
  SERVER/                one per running server, named by pid and a random part
    lock                 held (flock) as long as the server lives
    server.json          who it is, for `bulkhead ps`
    hub.ipc              ZeroMQ
    control.sock         operators
    events/              one event log an incarnation
    events.jsonl         what supervision did
    logs/                what the workers of a thread print
    stacks/              stack dumps of hung workers
    processes/           who was started, for whoever cleans up after a server that was killed
    ephemeral/           rollouts of threads that must not outlive the server
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
from contextlib import suppress

import msgspec

from sandbox_backends import identity

__all__ = [
    "Reaped",
    "RuntimeDirectory",
    "ServerRecord",
    "UnsafeRuntimeDirectory",
    "check_folder",
    "lives",
    "reap",
    "running_servers",
    "runtime_folder",
]

IPC_PATH_BYTES = 107
"""What a Unix socket's path may have."""
HUB_SOCKET = "hub.ipc"
LOCK = "lock"
UNFINISHED = "."
"""Begins the name of a directory whose server does not hold its lock yet; nobody else may try that lock."""
MAKING_S = 60.0
"""More than the making of a directory takes."""
_NAME = re.compile(r"\.?[0-9]+-[0-9a-f]{6}")
"""Of a server's directory. The folder is where somebody says it is, and what else lies there is none of ours."""


class UnsafeRuntimeDirectory(RuntimeError):
    """The runtime directory cannot be used safely."""


class ServerRecord(msgspec.Struct, kw_only=True):
    """A running server, as it describes itself. `started_at` in unix seconds."""

    name: str
    pid: int
    started_at: float
    home: str
    argv: list[str]
    version: str
    directory: str = ""

    @property
    def control_socket(self) -> str:
        return os.path.join(self.directory, "control.sock")


def runtime_folder() -> str:
    configured = os.environ.get("BULKHEAD_RUNTIME_DIR")
    if configured:
        return configured
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.path.isdir(runtime) and os.access(runtime, os.W_OK):
        return os.path.join(runtime, "bulkhead")
    return os.path.join(tempfile.gettempdir(), f"bulkhead-{os.getuid()}")


def _own_directory(path: str) -> None:
    """Make `path` ours alone, or refuse: in a shared /tmp somebody else may have been first."""
    with suppress(FileExistsError):
        os.makedirs(path, mode=0o700)
    if stat.S_IMODE(_checked(path).st_mode) & 0o077:
        os.chmod(path, 0o700)


def _checked(path: str) -> os.stat_result:
    """What the system knows of a folder that is ours. Raises FileNotFoundError if there is none."""
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode):
        what = "is no folder"
    elif found.st_uid != os.getuid():
        what = "belongs to somebody else"
    else:
        return found
    raise UnsafeRuntimeDirectory(f"{path} {what}; set BULKHEAD_RUNTIME_DIR to a folder of your own")


def _check_length(directory: str) -> None:
    if len(os.path.join(directory, HUB_SOCKET).encode()) > IPC_PATH_BYTES:
        raise UnsafeRuntimeDirectory(
            f"{directory} is too long for a socket; set BULKHEAD_RUNTIME_DIR to a shorter one"
        )


def check_folder() -> str:
    """The folder of all servers, as far as it can be judged before one starts; nothing is made.

    Raises:
        UnsafeRuntimeDirectory, OSError: no server could use it.
    """
    base = runtime_folder()
    with suppress(FileNotFoundError):
        _checked(base)
    _check_length(os.path.join(base, f"{os.getpid()}-{secrets.token_hex(3)}"))
    return base


def _directories() -> list[os.DirEntry[str]]:
    """Those of servers, made or in the making, living or not."""
    with os.scandir(runtime_folder()) as entries:
        return [
            entry for entry in entries if _NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
        ]


class Reaped(msgspec.Struct, frozen=True):
    """What was left of one server: its name and the processes that were ended."""

    server: str
    pids: list[int]


class RuntimeDirectory:
    """The directory of this server; made at once, removed by `remove`."""

    def __init__(self) -> None:
        self.base = base = runtime_folder()
        """The folder of all servers of this user."""
        self.reaped = reap()
        """What was found of earlier servers."""
        self.name = f"{os.getpid()}-{secrets.token_hex(3)}"
        self.path = os.path.join(base, self.name)
        _check_length(self.path)
        # Under another name until the lock is held: a server that starts now would take it for one without a server.
        making = os.path.join(base, f"{UNFINISHED}{self.name}")
        os.mkdir(making, mode=0o700)
        self._lock = os.open(os.path.join(making, LOCK), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for folder in ("events", "logs", "stacks", "processes", "ephemeral"):
            os.mkdir(os.path.join(making, folder), mode=0o700)
        os.rename(making, self.path)

    @property
    def lock_path(self) -> str:
        return os.path.join(self.path, LOCK)

    @property
    def hub_socket(self) -> str:
        return os.path.join(self.path, HUB_SOCKET)

    @property
    def control_socket(self) -> str:
        return os.path.join(self.path, "control.sock")

    @property
    def stacks(self) -> str:
        return os.path.join(self.path, "stacks")

    @property
    def logs(self) -> str:
        return os.path.join(self.path, "logs")

    @property
    def processes(self) -> str:
        return os.path.join(self.path, "processes")

    @property
    def journal(self) -> str:
        return os.path.join(self.path, "events.jsonl")

    @property
    def ephemeral(self) -> str:
        return os.path.join(self.path, "ephemeral")

    def event_log(self, thread_id: str, load: int, epoch: int) -> str:
        """A name that no other incarnation has: epochs begin anew with each load of a thread."""
        return os.path.join(self.path, "events", f"{thread_id}.{load}.{epoch}")

    def describe(self, *, home: str, argv: list[str], version: str) -> ServerRecord:
        record = ServerRecord(
            name=self.name,
            pid=os.getpid(),
            started_at=time.time(),
            home=home,
            argv=argv,
            version=version,
            directory=self.path,
        )
        with open(os.path.join(self.path, "server.json"), "wb") as file:
            file.write(msgspec.json.encode(record))
        return record

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def lives(directory: str) -> bool:
    """Whether the server of this directory still holds its lock."""
    try:
        fd = os.open(os.path.join(directory, LOCK), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # Shared: of two who look at once, neither is to take the other for the server.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def _is_old(directory: str) -> bool:
    """Whether whoever was making it has been gone for long."""
    with suppress(OSError):
        return time.time() - os.stat(directory).st_mtime > MAKING_S
    return False


def reap() -> list[Reaped]:
    """End what servers left that are not there any more, and remove their directories; blocks."""
    _own_directory(runtime_folder())
    found = []
    for entry in _directories():
        gone = _is_old(entry.path) if entry.name.startswith(UNFINISHED) else not lives(entry.path)
        if gone:
            ended = identity.end_recorded(os.path.join(entry.path, "processes"))
            shutil.rmtree(entry.path, ignore_errors=True)
            found.append(Reaped(entry.name, [process.pid for process in ended]))
    return found


def running_servers() -> list[ServerRecord]:
    """The servers of this user that are running, oldest first.

    Raises:
        UnsafeRuntimeDirectory: somebody else may have put there what he likes.
        OSError: the folder cannot be read.
    """
    try:
        _checked(runtime_folder())
        entries = _directories()
    except FileNotFoundError:
        return []
    found: list[ServerRecord] = []
    for entry in entries:
        if entry.name.startswith(UNFINISHED) or not lives(entry.path):
            continue
        with suppress(OSError, msgspec.MsgspecError):
            with open(os.path.join(entry.path, "server.json"), "rb") as file:
                record = msgspec.json.decode(file.read(), type=ServerRecord)
            record.directory = entry.path
            found.append(record)
    return sorted(found, key=lambda record: record.started_at)
