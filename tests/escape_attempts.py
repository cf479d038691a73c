"""Attempts to get out of a sandbox: `python escape_attempts.py NAME WORKSPACE OUTSIDE VICTIM_PID`.

Each does the deed and ends with 0 if the kernel let it, else with an exception. The test looks from outside whether
anything happened. No attempt can hurt anything but the fixture's own files and its victim process.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
AT_FDCWD, AT_EMPTY_PATH, AT_SYMLINK_FOLLOW, RENAME_EXCHANGE = -100, 0x1000, 0x400, 2
X86 = os.uname().machine == "x86_64"


def call(number, *arguments):
    if LIBC.syscall(ctypes.c_long(number), *arguments) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def write(path, text, mode="w"):
    with open(path, mode) as file:
        file.write(text)


def abstract_name(out):
    """Unlike files these names are everybody's: other runs may be under way."""
    return f"\0bulkhead-escape-{zlib.crc32(str(out).encode())}"


def exchange_files(ws, out, victim):
    write(f"{ws}/mine", "evil")
    checked(
        LIBC.renameat2(AT_FDCWD, f"{ws}/mine".encode(), AT_FDCWD, f"{out}/file".encode(), RENAME_EXCHANGE)
    )


def link_by_descriptor(ws, out, victim):
    fd = os.open(f"{out}/file", os.O_PATH)
    path = f"/proc/self/fd/{fd}".encode()
    checked(LIBC.linkat(AT_FDCWD, path, AT_FDCWD, f"{ws}/linked".encode(), AT_SYMLINK_FOLLOW))
    write(f"{ws}/linked", "evil", "a")


def nameless_file(ws, out, victim):
    fd = os.open(out, os.O_TMPFILE | os.O_WRONLY)
    os.write(fd, b"evil")
    path = f"/proc/self/fd/{fd}".encode()
    checked(LIBC.linkat(AT_FDCWD, path, AT_FDCWD, f"{out}/made".encode(), AT_SYMLINK_FOLLOW))


def reopen_for_writing(ws, out, victim):
    fd = os.open(f"{out}/file", os.O_RDONLY)
    with open(f"/proc/self/fd/{fd}", "w") as file:
        file.write("evil")


def through_the_victims_folder(ws, out, victim):
    with open(f"/proc/{victim}/cwd/file", "w") as file:
        file.write("evil")


def through_a_new_mount(ws, out, victim):
    checked(LIBC.unshare(0x00020000))
    checked(LIBC.mount(out.encode(), f"{ws}/sub".encode(), None, 4096, None))
    write(f"{ws}/sub/file", "evil")


def attributes_by_ioctl(ws, out, victim):
    fd = os.open(f"{out}/file", os.O_RDONLY)
    flags = bytearray(fcntl.ioctl(fd, 0x80086601, bytes(8)))
    flags[0] |= 0x80  # FS_NOATIME_FL
    fcntl.ioctl(fd, 0x40086602, bytes(flags))


def hook_by_hard_link(ws, out, victim):
    os.link(f"{ws}/.git/hooks/pre-commit", f"{ws}/innocent")
    write(f"{ws}/innocent", "evil")


def swap_the_protected_folder(ws, out, victim):
    checked(LIBC.renameat2(AT_FDCWD, f"{ws}/sub".encode(), AT_FDCWD, f"{ws}/.git".encode(), RENAME_EXCHANGE))


def plant_a_link_for_a_missing_name(ws, out, victim):
    os.symlink(out, f"{ws}/.codex")


def signal_by_pidfd(ws, out, victim):
    signal.pidfd_send_signal(os.pidfd_open(victim), signal.SIGKILL)


def signal_by_thread(ws, out, victim):
    call(234 if X86 else 131, victim, victim, signal.SIGKILL)


def signal_by_owner_of_a_pipe(ws, out, victim):
    reader, writer = os.pipe()
    fcntl.fcntl(reader, 10, int(signal.SIGKILL))  # F_SETSIG
    fcntl.fcntl(reader, fcntl.F_SETOWN, victim)
    fcntl.fcntl(reader, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    os.write(writer, b"x")
    time.sleep(0.05)


def starve_the_victim(ws, out, victim):
    resource_limits = struct.pack("=QQ", 0, 0)
    call(302 if X86 else 261, victim, 7, resource_limits, None)


def choose_the_victim_for_the_oom_killer(ws, out, victim):
    write(f"/proc/{victim}/oom_score_adj", "1000")


def read_the_victims_environment(ws, out, victim):
    data = Path(f"/proc/{victim}/environ").read_bytes()
    if b"VICTIM_SECRET" not in data:
        raise PermissionError
    write(f"{ws}/stolen", "yes")


def take_the_victims_descriptor(ws, out, victim):
    call(438, os.pidfd_open(victim), 0, 0)


def talk_to_an_abstract_socket(ws, out, victim):
    socket.socket(socket.AF_UNIX).connect(abstract_name(out))


def talk_to_a_socket_file(ws, out, victim):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"{out}/socket")
        client.send(b"evil")


def become_root_by_a_setuid_program(ws, out, victim):
    if os.getuid() == 0:
        raise PermissionError
    done = subprocess.run(["/bin/su", "-c", "id"], capture_output=True, check=False, stdin=subprocess.DEVNULL)
    if b"uid=0" not in done.stdout:
        raise PermissionError


def write_a_device(ws, out, victim):
    if not Path("/dev/kmsg").is_char_device():
        raise PermissionError
    write("/dev/kmsg", "")


def read_the_masked_file(ws, out, victim):
    if "token" not in Path(f"{out}/auth.json").read_text():
        raise PermissionError


def find_the_servers_environment(ws, out, victim):
    """The test's own process has the variable, and so would a launcher that inherits."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            data = (folder / "environ").read_bytes()
        except OSError:
            continue
        if b"ESCAPE_TEST_SECRET" in data:
            write(f"{ws}/stolen", "yes")
            return
    raise PermissionError


def use_an_inherited_descriptor(ws, out, victim):
    found = [int(name) for name in os.listdir("/proc/self/fd")]
    for fd in found:
        if fd > 2 and os.path.exists(f"/proc/self/fd/{fd}"):
            return
    raise PermissionError


def talk_to_a_loopback_service(ws, out, victim):
    with socket.create_connection(("127.0.0.1", int(Path(f"{out}/port").read_text())), timeout=2) as client:
        client.send(b"evil")


def send_a_datagram_to_it(ws, out, victim):
    port = int(Path(f"{out}/port").read_text())
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.connect(("127.0.0.1", port))
    client.send(b"evil")
    time.sleep(0.05)
    client.send(b"evil")  # the first one's refusal comes with the second


def rare_socket_families(ws, out, victim):
    for family in (17, 29, 31, 38, 40, 44):  # packet, CAN, Bluetooth, ALG, vsock, XDP
        try:
            socket.socket(family, socket.SOCK_RAW).close()
        except OSError:
            continue
        return
    raise PermissionError


def send_to_a_message_queue(ws, out, victim):
    queue = int(Path(f"{out}/queue").read_text())
    message = struct.pack("=q4s", 1, b"evil")
    call(69 if X86 else 189, queue, message, ctypes.c_size_t(4), 0)


def attributes_by_new_calls(ws, out, victim):
    for attempt in (
        lambda: call(452, AT_FDCWD, f"{out}/file".encode(), 0o777, 0),  # fchmodat2
        lambda: call(
            463, AT_FDCWD, f"{out}/file".encode(), 0, b"user.evil", struct.pack("=QII", 0, 0, 0), 16
        ),
        lambda: os.utime(f"{out}/file", (1, 1)),
        lambda: os.setxattr(f"{out}/file", "user.evil", b"1"),
        lambda: os.chmod(f"/proc/self/fd/{os.open(f'{out}/file', os.O_PATH)}", 0o777),
    ):
        try:
            attempt()
        except OSError:
            continue
        return
    raise PermissionError


def mount_the_new_way(ws, out, victim):
    for number, arguments in (
        (430, (b"tmpfs", 0)),  # fsopen
        (428, (AT_FDCWD, out.encode(), 1)),  # open_tree, cloned
        (467, (AT_FDCWD, out.encode(), 1, None, 0)),  # open_tree_attr
        (442, (AT_FDCWD, b"/", 0, struct.pack("=QQQQ", 0, 1, 0, 0), 32)),  # mount_setattr
    ):
        try:
            call(number, *arguments)
        except OSError:
            continue
        return
    raise PermissionError


def enter_the_victims_namespaces(ws, out, victim):
    fd = os.open(f"/proc/{victim}/ns/mnt", os.O_RDONLY)
    call(308 if X86 else 268, fd, 0)


def open_by_handle(ws, out, victim):
    handle = bytearray(struct.pack("=Ii128s", 128, 0, b""))
    buffer = (ctypes.c_char * len(handle)).from_buffer(handle)
    mount = ctypes.c_int()
    checked(LIBC.name_to_handle_at(AT_FDCWD, f"{out}/file".encode(), buffer, ctypes.byref(mount), 0))
    checked(LIBC.open_by_handle_at(os.open(ws, os.O_RDONLY), buffer, os.O_WRONLY))


def catch_faults_from_user_space(ws, out, victim):
    call(323 if X86 else 282, 0)


def change_the_kernels_settings(ws, out, victim):
    for name in ("kernel/core_pattern", "kernel/modprobe", "vm/swappiness", "kernel/hostname"):
        try:
            fd = os.open(f"/proc/sys/{name}", os.O_WRONLY)
        except OSError:
            continue
        os.close(fd)
        return
    os.close(os.open("/sys/kernel/uevent_helper", os.O_WRONLY))


def move_the_workspace(ws, out, victim):
    os.rename(ws, f"{ws}-moved")


def write_behind_the_shared_memory(ws, out, victim):
    """/dev/shm of the host is everybody's."""
    name = f"/dev/shm/{os.path.basename(os.path.dirname(ws))}"
    write(name, "evil")
    write(f"{ws}/shm", name)


ATTEMPTS = {
    name: function
    for name, function in list(globals().items())
    if callable(function) and getattr(function, "__module__", "") == __name__
}
for helper in ("abstract_name", "call", "checked", "write"):
    del ATTEMPTS[helper]

if __name__ == "__main__":
    ATTEMPTS[sys.argv[1]](sys.argv[2], sys.argv[3], int(sys.argv[4]))
