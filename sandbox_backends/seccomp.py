"""The seccomp filter of the Linux sandbox, as classic-BPF bytes. Nothing here makes a system call.

Rules that each stand for a hole somewhere else: a foreign architecture is killed (int 0x80); the x32 range gets ENOSYS;
integer arguments are compared by their low 32 bits, since the kernel truncates them (CVE-2019-10063); clone3 gets
ENOSYS because its flags lie behind a pointer, and libc falls back to clone; a datagram socketpair can be connected to
a path anew, so it goes when AF_UNIX goes.
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Iterable
from functools import lru_cache

__all__ = ["ARCHES", "program"]

# linux/bpf_common.h, linux/seccomp.h
_LOAD, _EQ, _GE, _AND_SET, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
# struct seccomp_data: nr, arch, instruction_pointer, args[6]; little endian, so the low half comes first.
_NR, _ARCH = 0, 4
_X32_BIT = 0x40000000

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
SOCK_DGRAM, SOCK_TYPE_MASK = 2, 0xF
CLONE_NEWUSER = 0x10000000
TIOCSTI, TIOCLINUX, TIOCSETD = 0x5412, 0x541C, 0x5423
FILE_ATTRIBUTE_IOCTLS = (0x40086602, 0x40046602, 0x401C5820, 0x40087602)
"""FS_IOC_SETFLAGS, its 32-bit form, FS_IOC_FSSETXATTR, FS_IOC_SETVERSION: metadata through a read-only descriptor."""
S_IFMT, S_IFCHR, S_IFBLK = 0o170000, 0o020000, 0o060000

ARCHES: dict[str, int] = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""AUDIT_ARCH of each machine there is a filter for."""

# name: (x86_64, aarch64); None where the call does not exist.
_CALLS: dict[str, tuple[int | None, int | None]] = {
    # Other processes' memory, descriptors and identity.
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    # A second way into most of the kernel, past this filter.
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    # Kernel interfaces that are not namespaced.
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "perf_event_open": (298, 241),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "open_by_handle_at": (304, 265),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    # Taking the mounts apart.
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_tree_attr": (467, 467),
    "setns": (308, 268),
    "chroot": (161, 51),
}
_UNNAMED: dict[str, tuple[int | None, int | None]] = {
    # What an ipc namespace keeps apart.
    "shmget": (29, 194),
    "shmat": (30, 196),
    "msgget": (68, 186),
    "semget": (64, 190),
    # Queues and semaphores answer to whoever names their number, which /proc/sysvipc tells.
    "shmctl": (31, 195),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "semop": (65, 193),
    "semtimedop": (220, 192),
    "semctl": (66, 191),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
}
"""Refused where there are no namespaces."""
_METADATA: dict[str, tuple[int | None, int | None]] = {
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "setxattrat": (463, 463),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
}
"""Landlock does not cover these: where nothing may be written they are refused as on a read-only file system."""
_OTHERS: dict[str, tuple[tuple[int | None, int | None], int]] = {
    "prlimit64": ((302, 261), 0),
    "sched_setaffinity": ((203, 122), 0),
    "sched_setscheduler": ((144, 119), 0),
    "sched_setparam": ((142, 118), 0),
    "sched_setattr": ((314, 274), 0),
    "setpriority": ((141, 140), 1),
    "ioprio_set": ((251, 30), 1),
}
"""Calls that change another process, and the argument that names it: without a pid namespace only 0, oneself."""
# Calls with rules of their own.
_MKNOD: tuple[int | None, int | None] = (133, None)
_MKNODAT = (259, 33)
_CLONE3 = (435, 435)
_CLONE = (56, 220)
_UNSHARE = (272, 97)
_IOCTL = (16, 29)
_SOCKET = (41, 198)
_SOCKETPAIR = (53, 199)

Instruction = tuple[int, int, int, int]
"""(code, jump if true, jump if false, operand)"""


def _argument(index: int) -> int:
    """Offset of the low 32 bits of a system call's argument."""
    return 16 + 8 * index


def _load(offset: int) -> Instruction:
    return (_LOAD, 0, 0, offset)


def _allow() -> Instruction:
    return (_RETURN, 0, 0, _ALLOW)


def _fail(number: int = errno.EPERM) -> Instruction:
    return (_RETURN, 0, 0, _ERRNO | number)


def _when(nr: int | None, body: list[Instruction]) -> list[Instruction]:
    """`body` for this call only; it must end in a return."""
    return [] if nr is None else [(_EQ, 0, len(body), nr), *body]


def _refuse_values(values: Iterable[int]) -> list[Instruction]:
    """EPERM if the accumulator is one of `values`, else allow."""
    tests: list[Instruction] = []
    for value in values:
        tests += [(_EQ, 0, 1, value), _fail()]
    return [*tests, _allow()]


def _only_values(values: Iterable[int]) -> list[Instruction]:
    """Allow if the accumulator is one of `values`, else EPERM."""
    tests: list[Instruction] = []
    for value in values:
        tests += [(_EQ, 0, 1, value), _allow()]
    return [*tests, _fail()]


def _without_namespaces(column: int, *, read_only: bool) -> list[Instruction]:
    code: list[Instruction] = []
    for numbers in _UNNAMED.values():
        code += _when(numbers[column], [_fail()])
    if read_only:
        for numbers in _METADATA.values():
            code += _when(numbers[column], [_fail(errno.EROFS)])
    for numbers, position in _OTHERS.values():
        code += _when(numbers[column], [_load(_argument(position)), *_only_values((0,))])
    return code


@lru_cache(maxsize=8)
def program(
    *,
    network: bool,
    machine: str | None = None,
    namespaces: bool = True,
    read_only: bool = False,
) -> bytes:
    """The filter for one machine (default: this one), network on or off; an array of `struct sock_filter`.

    Network off expects a private network namespace: INET, INET6 and NETLINK stay, for loopback inside. Network on
    adds UNIX; other families are rarely used code of the kernel, and AF_VSOCK reaches the hypervisor's host. Raises KeyError for an unknown machine.

    `namespaces=False` is for a command that shares all of them with us: what they would have kept apart is refused,
    unix sockets always, every socket with the network off. `read_only` then refuses metadata as well.
    """
    machine = machine or platform.machine()
    column = tuple(ARCHES).index(machine) if machine in ARCHES else None
    if column is None:
        raise KeyError(machine)
    code: list[Instruction] = [
        _load(_ARCH),
        (_EQ, 1, 0, ARCHES[machine]),
        (_RETURN, 0, 0, _KILL),
        _load(_NR),
    ]
    if machine == "x86_64":
        code += [(_GE, 0, 1, _X32_BIT), _fail(errno.ENOSYS)]
    for numbers in _CALLS.values():
        code += _when(numbers[column], [_fail()])
    if not namespaces:
        code += _without_namespaces(column, read_only=read_only)
    # FIFOs, sockets and plain files may be made; devices not.
    for call, mode in ((_MKNOD, 1), (_MKNODAT, 2)):
        devices = [_load(_argument(mode)), (_AND, 0, 0, S_IFMT), *_refuse_values((S_IFCHR, S_IFBLK))]
        code += _when(call[column], devices)
    # A user namespace would give back every capability inside it, and with them much of the kernel's surface.
    code += _when(_CLONE3[column], [_fail(errno.ENOSYS)])
    for call in (_CLONE, _UNSHARE):
        code += _when(call[column], [_load(_argument(0)), (_AND_SET, 0, 1, CLONE_NEWUSER), _fail(), _allow()])
    # Typing into the terminal of whoever started us; line disciplines are rarely used code of the kernel.
    requests = (TIOCSTI, TIOCLINUX, TIOCSETD, *(FILE_ATTRIBUTE_IOCTLS if read_only else ()))
    code += _when(_IOCTL[column], [_load(_argument(1)), *_refuse_values(requests)])
    if network:
        families = (AF_INET, AF_INET6, AF_NETLINK, *((AF_UNIX,) if namespaces else ()))
    else:
        families = (AF_INET, AF_INET6, AF_NETLINK) if namespaces else ()
    code += _when(_SOCKET[column], [_load(_argument(0)), *_only_values(families)])
    if not (network and namespaces):
        datagrams = [_load(_argument(1)), (_AND, 0, 0, SOCK_TYPE_MASK), *_refuse_values((SOCK_DGRAM,))]
        code += _when(_SOCKETPAIR[column], datagrams)
    code.append(_allow())
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
