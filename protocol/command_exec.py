"""`command/exec` and its companions: a command in the server's sandbox, without a thread."""

from __future__ import annotations

from typing import Literal

from protocol.base import Params, Wire
from protocol.constraints import Unsigned16, UnsignedSize
from protocol.policy import SandboxPolicy

__all__ = [
    "CommandExecOutputDeltaNotification",
    "CommandExecParams",
    "CommandExecResizeParams",
    "CommandExecResizeResponse",
    "CommandExecResponse",
    "CommandExecTerminalSize",
    "CommandExecTerminateParams",
    "CommandExecTerminateResponse",
    "CommandExecWriteParams",
    "CommandExecWriteResponse",
]


class CommandExecTerminalSize(Params):
    """Character cells."""

    rows: Unsigned16
    cols: Unsigned16


class CommandExecParams(Params):
    """`process_id` is the client's own name for the process, unique on its connection while the process runs.

    env: on top of the server's; None unsets. tty implies both kinds of streaming. timeout_ms: default 10,000.
    output_bytes_cap: per stream, default 1 MiB.
    """

    command: list[str]
    process_id: str | None = None
    tty: bool = False
    stream_stdin: bool = False
    stream_stdout_stderr: bool = False
    output_bytes_cap: UnsignedSize | None = None
    disable_output_cap: bool = False
    disable_timeout: bool = False
    timeout_ms: int | None = None
    cwd: str | None = None
    env: dict[str, str | None] | None = None
    size: CommandExecTerminalSize | None = None
    sandbox_policy: SandboxPolicy | None = None
    permission_profile: str | None = None
    """Experimental: a named profile in the place of a policy."""


class CommandExecResponse(Wire):
    """Streamed output is not repeated here. exit_code: 124 after a time-out, 128+n after signal n."""

    exit_code: int
    stdout: str
    stderr: str


class CommandExecWriteParams(Params):
    process_id: str
    delta_base64: str | None = None
    close_stdin: bool = False


class CommandExecWriteResponse(Wire):
    pass


class CommandExecResizeParams(Params):
    process_id: str
    size: CommandExecTerminalSize


class CommandExecResizeResponse(Wire):
    pass


class CommandExecTerminateParams(Params):
    process_id: str


class CommandExecTerminateResponse(Wire):
    pass


class CommandExecOutputDeltaNotification(Wire):
    """cap_reached: this is the last of the stream, whatever the command still prints."""

    process_id: str
    stream: Literal["stdout", "stderr"]
    delta_base64: bytes
    cap_reached: bool
