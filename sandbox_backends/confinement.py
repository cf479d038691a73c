"""What one thread can take on so that the programs it starts are confined: no capabilities, Landlock, a filter.

All of these belong to a *thread* in Linux, and a child inherits those of the thread that forked it. So a thread made
for the purpose confines itself, starts the command and ends; the rest of the process never notices. That costs a
tenth of a millisecond, where a launcher program would cost an interpreter's start.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

__all__ = [
    "SCOPES_ABI",
    "CallError",
    "Confinement",
    "enter_ruleset",
    "landlock_abi",
    "new_ruleset",
    "run_confined",
]

T = TypeVar("T")

SCOPES_ABI = 6
"""The Landlock version of Linux 6.12, the first that keeps signals and abstract sockets inside."""

# asm-generic/unistd.h: the same on every machine there is a filter for.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
# linux/prctl.h, linux/seccomp.h
_PR_CAPBSET_READ, _PR_CAPBSET_DROP = 23, 24
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT, _CAP_AMBIENT_CLEAR_ALL = 47, 4
_LAST_CAPABILITY = 63


class CallError(OSError):
    """A system call the sandbox needs was refused; `call` names it."""

    def __init__(self, call: str, number: int) -> None:
        super().__init__(number, f"{call}: {errno.errorcode.get(number, number)} ({os.strerror(number)})")
        self.call = call


@lru_cache(maxsize=1)
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return libc


def _call(name: str, number: int, *arguments: object) -> int:
    result: int = _libc().syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        raise CallError(name, ctypes.get_errno())
    return result


def _prctl(name: str, *arguments: int) -> int:
    words = [ctypes.c_ulong(argument) for argument in (*arguments, *(0,) * (5 - len(arguments)))]
    result: int = _libc().prctl(*words)
    if result < 0:
        raise CallError(f"prctl({name})", ctypes.get_errno())
    return result


def landlock_abi() -> int:
    """The kernel's Landlock version. Raises CallError: ENOSYS if it is not built in, EOPNOTSUPP if not switched on."""
    return _call(
        "landlock_create_ruleset",
        _CREATE_RULESET,
        ctypes.c_void_p(None),
        ctypes.c_size_t(0),
        ctypes.c_uint32(_RULESET_VERSION),
    )


def new_ruleset(handled_fs: int, handled_net: int, scoped: int) -> int:
    """A ruleset's descriptor; all that is handled and not allowed by a rule is refused."""
    data = struct.pack("=QQQ", handled_fs, handled_net, scoped)
    return _call(
        "landlock_create_ruleset", _CREATE_RULESET, data, ctypes.c_size_t(len(data)), ctypes.c_uint32(0)
    )


def allow_beneath(ruleset: int, path: int, access: int) -> None:
    """Allow `access` at the descriptor `path` and below it."""
    data = struct.pack("=Qi", access, path)
    _call(
        "landlock_add_rule",
        _ADD_RULE,
        ctypes.c_int(ruleset),
        ctypes.c_int(_RULE_PATH_BENEATH),
        data,
        ctypes.c_uint32(0),
    )


def enter_ruleset(ruleset: int) -> None:
    """Have it hold for the calling thread and all that it starts, for good, and give up what setuid programs grant."""
    _prctl("PR_SET_NO_NEW_PRIVS", _PR_SET_NO_NEW_PRIVS, 1)
    _call("landlock_restrict_self", _RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))


class Confinement:
    """A Landlock ruleset (a descriptor, owned) and a seccomp program, ready to be taken on."""

    def __init__(self, ruleset: int, program: bytes) -> None:
        self._ruleset = ruleset
        self._program = program

    def enter(self) -> None:
        """Confine the calling thread for good. Raises CallError."""
        _drop_capabilities()
        enter_ruleset(self._ruleset)
        buffer = ctypes.create_string_buffer(self._program, len(self._program))
        # struct sock_fprog: the number of instructions (8 bytes each), padding, their address.
        fprog = struct.pack("@HP", len(self._program) // 8, ctypes.addressof(buffer))
        holder = ctypes.create_string_buffer(fprog, len(fprog))
        _prctl("PR_SET_SECCOMP", _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(holder))

    def close(self) -> None:
        if self._ruleset >= 0:
            ruleset, self._ruleset = self._ruleset, -1
            os.close(ruleset)


def _drop_capabilities() -> None:
    """Empty the sets that an execve gives new ones from; only who has CAP_SETPCAP has any to lose."""
    for capability in range(_LAST_CAPABILITY + 1):
        try:
            if _prctl("PR_CAPBSET_READ", _PR_CAPBSET_READ, capability):
                _prctl("PR_CAPBSET_DROP", _PR_CAPBSET_DROP, capability)
        except CallError as error:
            if error.errno == errno.EPERM and os.geteuid() != 0:
                break  # no_new_privs keeps from a plain user what is left in the set
            if error.errno == errno.EINVAL:
                break  # one behind the last capability of this kernel
            raise
    _prctl("PR_CAP_AMBIENT", _PR_CAP_AMBIENT, _CAP_AMBIENT_CLEAR_ALL)


def run_confined(confinement: Confinement, start: Callable[[], T]) -> T:
    """Call `start` in a thread that took on `confinement`, and wait for it; its exception is raised here."""
    results: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            confinement.enter()
            results.append(start())
        except BaseException as error:  # noqa: BLE001 - handed over to the caller, who raises it
            errors.append(error)

    thread = threading.Thread(target=work, name="confined")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
