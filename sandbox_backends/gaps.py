"""What a backend may be unable to enforce: the names that stand in plans, and what each means."""

from __future__ import annotations

__all__ = [
    "ABSTRACT_SOCKETS",
    "COMMAND_LINES",
    "GAPS",
    "MEMORY_PER_PROCESS",
    "METADATA",
    "NO_JOB_CONTROL",
    "PROCESSES",
    "RESTORED",
    "ROOTS_BY_NAME",
    "ROOT_PROCESSES",
    "SERVER_FILES",
    "SOCKET_FILES",
    "STRAYS",
]

METADATA = "metadata-outside-roots"
RESTORED = "protected-names-restored-afterwards"
PROCESSES = "foreign-processes-visible"
SERVER_FILES = "files-of-the-server-writable"
STRAYS = "stray-processes-may-outlive-their-command"
COMMAND_LINES = "foreign-command-lines-visible"
ROOTS_BY_NAME = "roots-mounted-by-name"
SOCKET_FILES = "unix-sockets-reachable"
ABSTRACT_SOCKETS = "abstract-sockets-reachable"
MEMORY_PER_PROCESS = "memory-limited-per-process"
ROOT_PROCESSES = "processes-unlimited-for-root"
NO_JOB_CONTROL = "terminal-without-job-control"

GAPS = {
    METADATA: "mode, owner, times and attributes of the user's own files can be changed anywhere",
    RESTORED: ".git, .codex and .agents are put right after the command, not kept from it",
    PROCESSES: "the command lines of other processes can be read",
    SERVER_FILES: "the home, sockets or logs of this server lie in a writable root and can be changed there",
    STRAYS: "a process that hides from its command ends with the last command of the thread in this sandbox",
    COMMAND_LINES: "the container forbids a fresh /proc: the command lines of other processes can be read",
    ROOTS_BY_NAME: "bubblewrap before 0.8: another command may swap a root for a symlink just before its mount",
    SOCKET_FILES: "with the network on, services behind socket files can be talked to, those of known daemons excepted",
    ABSTRACT_SOCKETS: "with the network on, services behind abstract sockets can be talked to",
    MEMORY_PER_PROCESS: "without a delegated cgroup the limit of memory is for each process",
    ROOT_PROCESSES: "without a delegated cgroup the limit of processes does not hold for root",
    NO_JOB_CONTROL: "without util-linux a shell on the terminal has no job control",
}
