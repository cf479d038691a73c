"""More attempts to get out of a sandbox, by rare calls and by programs; as `escape_attempts`, run the same way.

None of them would do lasting harm where nothing holds it back: what has no harmless form is only opened, or called with
arguments that the kernel refuses after it has looked at the permission.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import pty
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

from escape_attempts import AT_EMPTY_PATH, AT_FDCWD, LIBC, RENAME_EXCHANGE, X86, call, checked, write

DENIED = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ESRCH, errno.EROFS, errno.EAFNOSUPPORT}


def refused(*attempts):
    """Succeed with the first that the kernel lets; raise if it refuses all."""
    for one in attempts:
        try:
            one()
        except (OSError, ValueError, struct.error):
            continue
        return
    raise PermissionError


def past_the_permission(number, *arguments):
    """With arguments that are wrong: whether the kernel got as far as to notice."""
    try:
        call(number, *arguments)
    except OSError as error:
        if error.errno in DENIED:
            raise


def key_of(out):
    """Of System V objects: unlike files these are everybody's."""
    return zlib.crc32(str(out).encode()) & 0x7FFFFFFF


def x86(function):
    def wrapper(ws, out, victim):
        if not X86:
            raise PermissionError("numbers of x86-64")
        return function(ws, out, victim)

    wrapper.__name__ = function.__name__
    wrapper.__module__ = function.__module__
    return wrapper


# --- files ---------------------------------------------------------------------------------------------------------


def open_with_resolve_flags(ws, out, victim):
    for resolve in (0, 0x08, 0x10):  # none, beneath, in root
        how = struct.pack("=QQQ", os.O_WRONLY, 0, resolve)
        top = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
        try:
            call(437, top, f"{out}/file"[1:].encode(), how, len(how))
        except OSError:
            continue
        return
    raise PermissionError


def path_descriptor_reopened(ws, out, victim):
    fd = os.open(f"{out}/file", os.O_PATH)
    refused(
        lambda: os.open(f"/proc/self/fd/{fd}", os.O_RDWR),
        lambda: os.open(f"/proc/thread-self/fd/{fd}", os.O_WRONLY | os.O_TRUNC),
        lambda: os.truncate(f"/proc/self/fd/{fd}", 0),
        lambda: os.open(f"/dev/fd/{fd}", os.O_RDWR),
    )


def folder_descriptor_used(ws, out, victim):
    fd = os.open(out, os.O_PATH | os.O_DIRECTORY)
    refused(
        lambda: os.open("made", os.O_CREAT | os.O_WRONLY, dir_fd=fd),
        lambda: os.mkdir("made", dir_fd=fd),
        lambda: os.unlink("file", dir_fd=fd),
        lambda: os.symlink("file", "made", dir_fd=fd),
        lambda: os.rename("file", "made", src_dir_fd=fd, dst_dir_fd=fd),
        lambda: os.mkfifo("made", dir_fd=fd),
        lambda: os.link(f"{ws}/.git/hooks/pre-commit", "made", dst_dir_fd=fd),
    )


def link_of_a_descriptor(ws, out, victim):
    fd = os.open(f"{out}/file", os.O_RDONLY)
    checked(LIBC.linkat(fd, b"", AT_FDCWD, f"{ws}/linked".encode(), AT_EMPTY_PATH))
    write(f"{ws}/linked", "evil", "a")


def shared_memory_of_a_file(ws, out, victim):
    fd = os.open(f"{out}/file", os.O_RDONLY)
    refused(lambda: mmap.mmap(fd, 4, mmap.MAP_SHARED, mmap.PROT_WRITE))


def own_memory_over_a_file(ws, out, victim):
    fd = os.open(f"{out}/file", os.O_RDONLY)
    LIBC.mmap.restype = ctypes.c_void_p
    address = LIBC.mmap(None, 4096, 1, mmap.MAP_SHARED, fd, 0)
    memory = os.open("/proc/self/mem", os.O_RDWR)
    os.pwrite(memory, b"evil", address)


def attributes_in_every_way(ws, out, victim):
    path = f"{out}/file"
    acl = struct.pack("=IHHIHHIHHI", 2, 1, 7, 0xFFFFFFFF, 4, 7, 0xFFFFFFFF, 0x20, 7, 0xFFFFFFFF)
    fd = os.open(path, os.O_RDONLY)
    refused(
        lambda: os.setxattr(path, "system.posix_acl_access", acl),
        lambda: os.setxattr(out, "user.evil", b"1"),
        lambda: os.setxattr(fd, "user.evil", b"1"),
        lambda: os.utime(fd, (1, 1)),
        lambda: os.utime(out, (1, 1)),
        lambda: os.chmod(out, 0o777),
        lambda: os.fchmod(fd, 0o777),
        lambda: os.chown(path, os.getuid(), os.getgid()),
        lambda: fcntl.ioctl(fd, 0x401C5820, struct.pack("=IIIII8x", 0x40, 0, 0, 0, 0)),  # FS_IOC_FSSETXATTR
    )


def exchange_of_hooks(ws, out, victim):
    (Path(ws) / "sub" / "hooks").mkdir()
    for flags in (RENAME_EXCHANGE, 4, 0):  # 4: leave a whiteout
        old, new = f"{ws}/sub/hooks".encode(), f"{ws}/.git/hooks".encode()
        if LIBC.renameat2(AT_FDCWD, old, AT_FDCWD, new, flags) == 0:
            return
    raise PermissionError


def protected_name_in_every_way(ws, out, victim):
    """`.codex` is not there: nobody must make it."""
    write(f"{ws}/sub/f", "evil")
    refused(
        lambda: os.rename(f"{ws}/sub", f"{ws}/.codex"),
        lambda: os.rename(f"{ws}/sub/f", f"{ws}/.codex"),
        lambda: os.link(f"{ws}/sub/f", f"{ws}/.codex"),
        lambda: os.mkfifo(f"{ws}/.codex"),
        lambda: os.rmdir(f"{ws}/.codex"),
        lambda: write(f"{ws}/.codex", "evil"),
    )


def protected_folder_unmounted(ws, out, victim):
    for path in (f"{ws}/.git", f"{ws}/.codex", ws, "/"):
        for flags in (2, 0, 8):  # detach, plain, no follow
            if LIBC.umount2(path.encode(), flags) == 0:
                write(f"{ws}/.git/hooks/pre-commit", "evil")
                return
    raise PermissionError


def root_remounted(ws, out, victim):
    for path in ("/", ws, f"{ws}/.git", "/proc"):
        if LIBC.mount(None, path.encode(), None, 32 | 4096, None) == 0:
            write(f"{out}/file", "evil")
            return
    raise PermissionError


def root_pivoted(ws, out, victim):
    refused(
        lambda: os.chroot(ws),
        lambda: os.chroot("/proc/1/root"),
        lambda: call(155 if X86 else 41, ws.encode(), f"{ws}/sub".encode()),
    )


def mount_moved(ws, out, victim):
    """move_mount of what is open already: needs no fsopen."""
    tree = os.open(f"{ws}/sub", os.O_PATH)
    call(429, tree, b"", AT_FDCWD, f"{ws}/.git".encode(), 4)


# --- namespaces and privileges --------------------------------------------------------------------------------------


def user_namespace_inside(ws, out, victim):
    checked(LIBC.unshare(0x10000000 | 0x00020000))
    checked(LIBC.mount(None, b"/", None, 32 | 4096, None))
    write(f"{out}/file", "evil")


def namespace_by_clone(ws, out, victim):
    arguments = struct.pack("=11Q", 0x10000000, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, 0)
    buffer = ctypes.create_string_buffer(arguments)
    pid = LIBC.syscall(ctypes.c_long(435), buffer, ctypes.c_size_t(len(arguments)))
    if pid == 0:
        os._exit(0)
    if pid < 0:
        raise OSError(ctypes.get_errno(), "clone3")
    os.waitpid(pid, 0)


def namespaces_of_the_first_process(ws, out, victim):
    refused(
        *(
            lambda name=name: call(308 if X86 else 268, os.open(f"/proc/1/ns/{name}", os.O_RDONLY), 0)
            for name in ("mnt", "user", "net", "ipc", "pid")
        ),
        lambda: call(308 if X86 else 268, os.pidfd_open(1), 0x00020000),
        lambda: call(308 if X86 else 268, os.pidfd_open(victim), 0x00020000),
    )


def sandbox_in_the_sandbox(ws, out, victim):
    """Set-uid or not, the program that builds sandboxes must not build a wider one."""
    done = subprocess.run(
        ["/usr/bin/bwrap", "--dev-bind", "/", "/", "sh", "-c", f"echo evil > {out}/file"],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise PermissionError


def programs_that_help(ws, out, victim):
    deed = f"echo evil > {out}/file"
    for argv in (
        ["unshare", "-Urm", "sh", "-c", f"mount -o remount,rw / ; {deed}"],
        ["nsenter", "-t", str(victim), "-a", "sh", "-c", deed],
        ["sudo", "-n", "sh", "-c", deed],
        ["pkexec", "sh", "-c", deed],
        ["systemd-run", "--user", "--wait", "sh", "-c", deed],
        ["setpriv", "--no-new-privs", "--inh-caps", "+all", "sh", "-c", deed],
        ["docker", "run", "--rm", "-v", f"{out}:/out", "busybox", "sh", "-c", "echo evil > /out/file"],
    ):
        if shutil.which(argv[0]) is None:
            continue
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if done.returncode == 0:
            return
    raise PermissionError


def capabilities_raised(ws, out, victim):
    refused(
        lambda: checked(LIBC.prctl(47, 2, 1, 0, 0)),  # ambient CAP_DAC_OVERRIDE
        lambda: checked(LIBC.prctl(8, 1, 0, 0, 0) or -(os.getuid() != 0) or LIBC.setresuid(1, 1, 1)),
        lambda: os.setgroups([0]),
        lambda: call(172 if X86 else -1, 3),  # iopl
    )


# --- other processes ----------------------------------------------------------------------------------------------------


def memory_of_the_victim_written(ws, out, victim):
    """An address that nothing has: EFAULT would mean that the permission was there."""
    vector = struct.pack("=QQ", 0, 1)
    buffer = ctypes.create_string_buffer(b"x")
    local = struct.pack("=QQ", ctypes.addressof(buffer), 1)
    past_the_permission(311 if X86 else 271, victim, local, 1, vector, 1, 0)


def memory_of_the_first_process(ws, out, victim):
    """Of the namespace's, or the machine's: whatever started us."""
    refused(
        *(
            lambda pid=pid: os.open(f"/proc/{pid}/mem", os.O_RDWR)
            for pid in (1, os.getppid())
            if pid != os.getpid()
        )
    )


def descriptors_of_others(ws, out, victim):
    own = str(os.getpid())
    shared = {os.readlink(f"/proc/self/fd/{fd}") for fd in range(3)}
    for folder in Path("/proc").glob("[0-9]*"):
        if folder.name == own:
            continue
        try:
            names = os.listdir(folder / "fd")
        except OSError:
            continue
        for name in names:
            try:
                if os.readlink(folder / "fd" / name) in shared:
                    continue
                os.close(os.open(folder / "fd" / name, os.O_WRONLY | os.O_NONBLOCK))
            except OSError:
                continue
            return
    raise PermissionError


def report_of_the_first_process(ws, out, victim):
    """It tells bubblewrap how we ended, by an event descriptor."""
    keeper = os.pidfd_open(1)
    for number in range(3, 16):
        fd = LIBC.syscall(ctypes.c_long(438), keeper, number, 0)
        if fd >= 0:
            os.write(fd, struct.pack("=Q", 1))
            os._exit(0)
    raise PermissionError


def trace_others(ws, out, victim):
    LIBC.ptrace.restype = ctypes.c_long
    for pid in (victim, 1, os.getppid()):
        for request in (16, 0x4206):  # attach, seize
            if LIBC.ptrace(request, pid, None, None) == 0:
                return
    raise PermissionError


def victim_slowed_down(ws, out, victim):
    refused(
        lambda: os.sched_setaffinity(victim, {0}),
        lambda: os.sched_setscheduler(victim, os.SCHED_IDLE, os.sched_param(0)),
        lambda: os.setpriority(os.PRIO_PROCESS, victim, 19),
        lambda: call(251 if X86 else 30, 1, victim, (3 << 13)),  # ioprio_set
    )


def victim_queued_a_signal(ws, out, victim):
    information = bytearray(128)
    struct.pack_into("=iii", information, 0, signal.SIGTERM, 0, -1)
    buffer = (ctypes.c_char * 128).from_buffer(information)
    refused(
        lambda: call(129 if X86 else 138, victim, int(signal.SIGTERM), buffer),
        lambda: call(297 if X86 else 240, victim, victim, int(signal.SIGTERM), buffer),
        lambda: os.killpg(os.getpgid(victim), signal.SIGTERM),
        lambda: os.setpgid(victim, 0),
    )


def victim_compared_and_moved(ws, out, victim):
    pages = struct.pack("=Q", 1)
    refused(
        lambda: call(312 if X86 else 272, victim, victim, 0, 0, 0),  # kcmp
        lambda: call(256 if X86 else 238, victim, 1, pages, pages),  # migrate_pages
        lambda: call(448, os.pidfd_open(victim), 0),  # process_mrelease
        lambda: Path(f"/proc/{victim}/maps").read_text() or 1 / 0,
        lambda: os.readlink(f"/proc/{victim}/exe"),
    )


def keeper_stopped(ws, out, victim):
    """What waits for us must not be stoppable: the result would never come."""
    for pid in (1, os.getppid()):
        if pid != os.getpid():
            try:
                os.kill(pid, signal.SIGSTOP)
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
    raise PermissionError


def report_forged(ws, out, victim):
    """Tell every descriptor that we ended well, and close all; then end badly."""
    for fd in range(3, 256):
        try:
            os.write(fd, b'{ "exit-code": 0 }\n' * 4096)
        except OSError:
            continue
    os.closerange(0, 256)
    os._exit(7)


def survivor(ws, out, victim):
    """Nobody's child, in a session of its own, with no wish to die with its parent."""
    if os.fork() == 0:
        os.setsid()
        LIBC.prctl(1, 0, 0, 0, 0)
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        if os.fork() == 0:
            null = os.open("/dev/null", os.O_RDWR)
            for fd in range(3):
                os.dup2(null, fd)
            os.execv("/bin/sleep", ["sleep", f"97{key_of(out)}"])
        os._exit(0)
    os.wait()
    raise PermissionError


# --- what is shared beside files ------------------------------------------------------------------------------------------


def shared_memory_of_system_v(ws, out, victim):
    checked(LIBC.shmget(key_of(out), 4096, 0o1666))


def semaphores_of_system_v(ws, out, victim):
    checked(LIBC.semget(key_of(out), 1, 0o1666))


def queue_of_posix(ws, out, victim):
    checked(LIBC.mq_open(f"/escape{key_of(out)}".encode(), os.O_CREAT | os.O_RDWR, 0o666, None))


def keys_of_the_user(ws, out, victim):
    add, request, control = (248, 249, 250) if X86 else (217, 218, 219)
    name = f"escape{key_of(out)}".encode()
    refused(
        lambda: call(add, b"user", name, b"x", ctypes.c_size_t(1), -4),
        lambda: call(add, b"user", name, b"x", ctypes.c_size_t(1), -3),
        lambda: call(control, 0, -4, 0),
        lambda: call(control, 1, name),
        lambda: call(request, b"user", name, None, 0),
    )


def socket_diagnosis(ws, out, victim):
    """Whether the listener of the test is seen in the list of sockets."""
    port = int(Path(f"{out}/port").read_text())
    link = socket.socket(16, socket.SOCK_RAW, 4)
    link.settimeout(2)
    request = struct.pack("=BBBxI", socket.AF_INET, 6, 0, 0xFFFFFFFF) + bytes(48)
    link.send(struct.pack("=IHHII", 16 + len(request), 20, 0x301, 1, 0) + request)
    if struct.pack("!H", port) not in link.recv(1 << 16):
        raise PermissionError


def kernel_by_netlink(ws, out, victim):
    """What the kernel tells of audits; addresses would be those of a network of our own."""
    socket.socket(16, socket.SOCK_RAW, 9).bind((0, 1))


def every_other_family(ws, out, victim):
    ordinary = {1, 2, 10, 16}
    for family in range(46):
        if family in ordinary:
            continue
        for kind in (1, 2, 3, 4, 5):
            try:
                socket.socket(family, kind).close()
            except OSError:
                continue
            return
    raise PermissionError


def raw_sockets(ws, out, victim):
    refused(
        lambda: socket.socket(2, socket.SOCK_RAW, 1).close(),
        lambda: socket.socket(10, socket.SOCK_RAW, 58).close(),
        lambda: socket.socket(2, socket.SOCK_RAW, 255).close(),
    )


def descriptor_to_a_socket_pair_turned(ws, out, victim):
    """A pair is allowed; turned to an address it would be a socket."""
    for kind in (socket.SOCK_DGRAM, socket.SOCK_SEQPACKET, socket.SOCK_STREAM):
        try:
            one, _ = socket.socketpair(socket.AF_UNIX, kind)
            one.connect(f"{out}/socket")
        except OSError:
            continue
        return
    raise PermissionError


def ring_of_requests(ws, out, victim):
    call(425, 4, ctypes.create_string_buffer(120))


# --- the kernel --------------------------------------------------------------------------------------------------------------


def programs_in_the_kernel(ws, out, victim):
    attributes = ctypes.create_string_buffer(struct.pack("=IIII", 2, 4, 4, 1), 128)
    call(321 if X86 else 280, 0, attributes, 128)


def performance_counters(ws, out, victim):
    attributes = bytearray(128)
    struct.pack_into("=IIQ", attributes, 0, 1, 128, 0)
    struct.pack_into("=Q", attributes, 40, 0x60)
    call(298 if X86 else 241, (ctypes.c_char * 128).from_buffer(attributes), 0, -1, -1, 0)


def all_files_watched(ws, out, victim):
    fd = LIBC.fanotify_init(0, 0)
    checked(fd)
    checked(LIBC.fanotify_mark(fd, 0x11, ctypes.c_uint64(2), AT_FDCWD, out.encode()))


def faults_by_the_device(ws, out, victim):
    os.open("/dev/userfaultfd", os.O_RDWR)


def devices_of_the_machine(ws, out, victim):
    names = ("mem", "kmem", "port", "kvm", "fuse", "net/tun", "loop-control", "mapper/control", "vhost-net")
    refused(
        *(
            lambda name=name: os.open(f"/dev/{name}", os.O_RDWR | os.O_NONBLOCK)
            for name in (*names, "vsock", "uinput", "snapshot", "rtc0", "watchdog", "sda", "vda", "tty1")
        )
    )


def modules_of_the_kernel(ws, out, victim):
    past_the_permission(313 if X86 else 273, -1, b"", 0)  # finit_module of no file


def log_of_the_kernel(ws, out, victim):
    checked(LIBC.klogctl(3, ctypes.create_string_buffer(64), 64))


def settings_in_every_way(ws, out, victim):
    paths = (
        "/proc/sys/kernel/core_pattern /proc/sys/fs/binfmt_misc/register /proc/sys/user/max_user_namespaces "
        "/proc/sysrq-trigger /proc/mtrr /proc/irq/default_smp_affinity "
        "/sys/kernel/mm/transparent_hugepage/enabled /sys/kernel/debug/sched_features "
        "/sys/module/printk/parameters/time /sys/fs/cgroup/cgroup.procs /sys/power/state"
    )
    refused(*(lambda path=path: os.close(os.open(path, os.O_WRONLY)) for path in paths.split()))


def group_of_one_s_own(ws, out, victim):
    refused(
        *(lambda top=top: os.mkdir(f"{top}/escape") for top in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"))
    )


def typing_into_a_terminal(ws, out, victim):
    """A terminal of our own: whether the calls are let at all."""
    master, slave = pty.openpty()
    if os.fork() == 0:
        os.setsid()
        fcntl.ioctl(slave, 0x540E, 0)
        for request in (0x5412, 0x541C, 0x100005412, 0x10000541C):
            buffer = ctypes.create_string_buffer(b"x")
            if LIBC.syscall(ctypes.c_long(16 if X86 else 29), slave, ctypes.c_ulong(request), buffer) == 0:
                os._exit(0)
        os._exit(1)
    _, status = os.wait()
    os.close(master)
    if status:
        raise PermissionError


@x86
def calls_of_other_machines(ws, out, victim):
    """x32, and i386 by int 0x80."""
    try:
        call(0x40000000 + 39)
    except OSError:
        pass
    else:
        return
    code = mmap.mmap(-1, 4096, prot=7)
    # socket(AF_UNIX, SOCK_STREAM, 0) as i386 has it
    code.write(
        b"\x53\xb8\x67\x01\x00\x00\xbb\x01\x00\x00\x00\xb9\x01\x00\x00\x00\xba\x00\x00\x00\x00\xcd\x80\x5b\xc3"
    )
    function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    if function() < 0:
        raise PermissionError


def time_of_the_machine(ws, out, victim):
    """A tick of 0 is refused after the permission was looked at, and sets nothing."""
    buffer = bytearray(208)
    struct.pack_into("=I", buffer, 0, 0x4000)
    LIBC.adjtimex((ctypes.c_char * 208).from_buffer(buffer))
    if ctypes.get_errno() != errno.EINVAL:
        raise PermissionError
    time.sleep(0)


NOT_ATTEMPTS = {"x86", "refused", "past_the_permission", "key_of"}
ATTEMPTS = {
    name: function
    for name, function in list(globals().items())
    if callable(function) and getattr(function, "__module__", "") == __name__ and name not in NOT_ATTEMPTS
}

if __name__ == "__main__":
    ATTEMPTS[sys.argv[1]](sys.argv[2], sys.argv[3], int(sys.argv[4]))
