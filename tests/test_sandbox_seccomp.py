"""The seccomp filter, run by a small interpreter of classic BPF."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_backends.seccomp import ARCHES, program

ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS


def verdict(code: bytes, arch: int, nr: int, *args: int) -> int:
    data = struct.pack("<IIQ6Q", nr, arch, 0, *(*args, *(0,) * (6 - len(args))))
    lines = [struct.unpack_from("=HBBI", code, at) for at in range(0, len(code), 8)]
    accumulator = at = 0
    while True:
        op, yes, no, k = lines[at]
        at += 1
        if op == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, k)
        elif op == 0x54:
            accumulator &= k
        elif op == 0x06:
            return k
        else:
            taken = {0x15: accumulator == k, 0x35: accumulator >= k, 0x45: bool(accumulator & k)}[op]
            at += yes if taken else no


X86 = ARCHES["x86_64"]
OFF, ON = program(network=False, machine="x86_64"), program(network=True, machine="x86_64")
SOCKET, SOCKETPAIR, IOCTL, CLONE, CLONE3, UNSHARE, MKNODAT, MKNOD, PTRACE = (
    41,
    53,
    16,
    56,
    435,
    272,
    259,
    133,
    101,
)


@pytest.mark.parametrize(
    ("code", "nr", "args", "expected"),
    [
        (OFF, 0, (), ALLOW),
        (OFF, PTRACE, (), EPERM),
        (ON, PTRACE, (), EPERM),
        (OFF, SOCKET, (2,), ALLOW),
        (OFF, SOCKET, (10,), ALLOW),
        (OFF, SOCKET, (16,), ALLOW),
        (OFF, SOCKET, (1,), EPERM),
        (OFF, SOCKET, (1 | 1 << 32,), EPERM),
        (OFF, SOCKET, (40,), EPERM),
        (OFF, SOCKET, (17,), EPERM),
        (ON, SOCKET, (1,), ALLOW),
        (ON, SOCKET, (40,), EPERM),
        (ON, SOCKET, (40 | 7 << 32,), EPERM),
        (OFF, SOCKETPAIR, (1, 1), ALLOW),
        (OFF, SOCKETPAIR, (1, 2 | 0o2000000), EPERM),
        (OFF, SOCKETPAIR, (1, 5), ALLOW),
        (ON, SOCKETPAIR, (1, 2), ALLOW),
        (OFF, IOCTL, (0, 0x5412), EPERM),
        (OFF, IOCTL, (0, 0x5412 | 1 << 32), EPERM),
        (OFF, IOCTL, (0, 0x541C), EPERM),
        (OFF, IOCTL, (0, 0x5413), ALLOW),
        (OFF, CLONE, (0x10000000,), EPERM),
        (OFF, CLONE, (0x01200011,), ALLOW),
        (OFF, UNSHARE, (0x10000000 | 0x20000,), EPERM),
        (OFF, CLONE3, (), ENOSYS),
        (OFF, MKNODAT, (0, 0, 0o060644), EPERM),
        (OFF, MKNODAT, (0, 0, 0o020644), EPERM),
        (OFF, MKNODAT, (0, 0, 0o010644), ALLOW),
        (OFF, MKNOD, (0, 0o060644), EPERM),
        (OFF, MKNOD, (0, 0o140644), ALLOW),
    ],
)
def test_verdicts(code, nr, args, expected):
    assert verdict(code, X86, nr, *args) == expected


@given(nr=st.integers(0, 2**32 - 1), arch=st.integers(0, 2**32 - 1).filter(lambda arch: arch != X86))
def test_a_foreign_architecture_is_killed(nr, arch):
    assert verdict(OFF, arch, nr) == KILL


@given(nr=st.integers(0x40000000, 2**32 - 1))
def test_x32_does_not_exist(nr):
    assert verdict(ON, X86, nr) == ENOSYS


@given(
    machine=st.sampled_from(sorted(ARCHES)),
    network=st.booleans(),
    nr=st.integers(0, 600),
    args=st.lists(st.integers(0, 2**64 - 1), max_size=6),
)
def test_every_call_gets_a_verdict(machine, network, nr, args):
    code = program(network=network, machine=machine)
    assert verdict(code, ARCHES[machine], nr, *args) in (ALLOW, EPERM, ENOSYS)


@given(
    nr=st.integers(0, 600),
    args=st.lists(st.integers(0, 2**32 - 1), min_size=6, max_size=6),
    high=st.integers(1, 2**32 - 1),
)
def test_the_upper_half_of_arguments_changes_nothing(nr, args, high):
    wide = [arg | high << 32 for arg in args]
    assert verdict(OFF, X86, nr, *args) == verdict(OFF, X86, nr, *wide)


def test_an_unknown_machine_has_no_filter():
    with pytest.raises(KeyError):
        program(network=True, machine="vax")
