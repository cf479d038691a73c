"""`command/exec`: commands of a client, planned and run like those of threads, known by names of the client's own."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping

import msgspec

from config.command_settings import resolve_command
from config.document import Document
from protocol import command_exec as wire
from protocol.policy import SandboxMode
from protocol.rpc import INTERNAL_ERROR, INVALID_PARAMS, RpcError
from sandbox_backends import env, planner
from sandbox_backends.command import NOT_FOUND, RunningCommand
from sandbox_backends.direct import Direct
from sandbox_backends.errors import CwdMissingError, EmptyCommandError, SandboxError, StdinError
from sandbox_backends.own import Own
from sandbox_backends.plan import ExecPlan, Stdin
from sandbox_backends.result import ExecResult
from sandbox_backends.runner import run_with_plan
from workers.host.encoded import InvalidBase64, decode_base64
from workers.host.output import OutputPump
from workers.host.request import HostRequest
from workers.link import Link

__all__ = ["Commands"]

DEFAULT_TIMEOUT_MS = 10_000
DEFAULT_OUTPUT_CAP = 1024 * 1024
UNCAPPED_OUTPUT = 64 * 1024 * 1024
"""What `disableOutputCap` comes to where output is gathered: its line passes the front, whose memory is everybody's."""
KILLED, HUNG_UP = 137, 1
"""Exit codes of a terminated command: killed by signal 9, or its terminal closed (as the peer tells it)."""
PROFILE_MODES: Mapping[str, SandboxMode] = {
    ":read-only": "read-only",
    ":workspace": "workspace-write",
    ":danger-full-access": "danger-full-access",
}


class _Running:
    """One command from its request to its end."""

    def __init__(self, params: wire.CommandExecParams) -> None:
        self.params = params
        self.terminated = False
        self.input_closed = False
        self.command: asyncio.Future[RunningCommand | None] = asyncio.get_running_loop().create_future()
        """None: it could not be started."""


class Commands:
    """The commands of one connection. `home` is where its configuration lies, `own` what no command may touch."""

    def __init__(self, link: Link, home: str, own: Own) -> None:
        self._link = link
        self._home = home
        self._own = own
        self._named: dict[str, _Running] = {}
        self._endings: set[asyncio.Task[None]] = set()

    async def run(self, request: HostRequest) -> wire.CommandExecResponse:
        params = request.params(wire.CommandExecParams)
        _check(params, experimental=request.experimental)
        name = params.process_id
        running = _Running(params)
        if name is None:
            return await self._run(request, running)
        if name in self._named:
            raise RpcError(f"duplicate active command/exec process id: {_quoted(name)}")
        self._named[name] = running
        try:
            return await self._run(request, running)
        finally:
            del self._named[name]

    async def _run(self, request: HostRequest, running: _Running) -> wire.CommandExecResponse:
        params = running.params
        pump: OutputPump | None = None
        if params.process_id is not None and (params.tty or params.stream_stdout_stderr):
            pump = OutputPump(self._link, params.process_id, _cap(params))
        try:
            plan = await request.blocking(lambda: self._plan(request, params, streaming=pump is not None))
            if pump is None:
                command = await run_with_plan(plan)
            else:
                command = await run_with_plan(plan, pump.stdout, on_stderr=pump.stderr)
                pump.command = command
        except (SandboxError, RpcError) as error:
            running.command.set_result(None)
            raise _refusal(error) if isinstance(error, SandboxError) else error from None
        except BaseException:
            running.command.set_result(None)
            raise
        running.command.set_result(command)
        result = await command.wait()
        if pump is not None:
            await pump.drained()
        return _response(running, plan, result)

    def _plan(self, request: HostRequest, params: wire.CommandExecParams, *, streaming: bool) -> ExecPlan:
        """Looks at the file system, so not on the loop."""
        document = msgspec.json.decode(request.context, type=Document)
        mode = PROFILE_MODES[params.permission_profile] if params.permission_profile else None
        settings = resolve_command(
            document,
            params.cwd or "",
            mode,
            home=self._home,
            server_cwd=os.getcwd(),
            environ=os.environ,
        )
        shell_environment = env.ShellEnvironmentPolicy(**msgspec.structs.asdict(settings.shell_environment))
        stdin: Stdin = "pty" if params.tty else "pipe" if params.stream_stdin else "null"
        timeout_ms = DEFAULT_TIMEOUT_MS if params.timeout_ms is None else params.timeout_ms
        cap = _cap(params)
        return planner.plan(
            params.command,
            cwd=settings.cwd,
            policy=params.sandbox_policy or settings.sandbox,
            env=env.environment(shell_environment, os.environ, overrides=params.env),
            own=self._own,
            timeout_ms=None if params.disable_timeout else timeout_ms,
            output_cap=0 if streaming else UNCAPPED_OUTPUT if cap is None else cap,
            output_keep="head",
            streams="split",
            stdin=stdin,
            pty_size=(params.size.rows, params.size.cols) if params.size else None,
        )

    async def write(self, request: HostRequest) -> wire.CommandExecWriteResponse:
        params = request.params(wire.CommandExecWriteParams)
        if params.delta_base64 is None and not params.close_stdin:
            raise RpcError("command/exec/write requires deltaBase64 or closeStdin", INVALID_PARAMS)
        try:
            data = decode_base64(params.delta_base64 or "")
        except InvalidBase64 as error:
            raise RpcError(f"invalid deltaBase64: {error}", INVALID_PARAMS) from None
        running = self._find(params.process_id)
        if not (running.params.tty or running.params.stream_stdin):
            raise RpcError("stdin streaming is not enabled for this command/exec")
        command = await self._started(params.process_id, running)
        if data:
            if running.input_closed:
                raise RpcError("stdin is already closed")
            try:
                command.write(data)
            except StdinError as error:
                raise RpcError(str(error)) from None
        if params.close_stdin and not running.input_closed:
            running.input_closed = True
            command.close_stdin()
        return wire.CommandExecWriteResponse()

    async def resize(self, request: HostRequest) -> wire.CommandExecResizeResponse:
        params = request.params(wire.CommandExecResizeParams)
        _check_size(params.size)
        running = self._find(params.process_id)
        if not running.params.tty:
            raise RpcError("failed to resize PTY: process is not attached to a PTY")
        command = await self._started(params.process_id, running)
        command.resize(params.size.rows, params.size.cols)
        return wire.CommandExecResizeResponse()

    async def terminate(self, request: HostRequest) -> wire.CommandExecTerminateResponse:
        """Without grace, as the peer: a client that wants one sends a signal by other means first."""
        params = request.params(wire.CommandExecTerminateParams)
        running = self._find(params.process_id)
        command = await self._started(params.process_id, running)
        running.terminated = True
        task = asyncio.get_running_loop().create_task(_end(command))
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)
        return wire.CommandExecTerminateResponse()

    def _find(self, name: str) -> _Running:
        running = self._named.get(name)
        if running is None:
            raise _unknown(name)
        return running

    async def _started(self, name: str, running: _Running) -> RunningCommand:
        command = await asyncio.shield(running.command)
        if command is None:
            raise _unknown(name)
        return command


async def _end(command: RunningCommand) -> None:
    await command.end(0)


def _unknown(name: str) -> RpcError:
    return RpcError(f"no active command/exec for process id {_quoted(name)}")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _cap(params: wire.CommandExecParams) -> int | None:
    if params.disable_output_cap:
        return None
    return DEFAULT_OUTPUT_CAP if params.output_bytes_cap is None else params.output_bytes_cap


def _check(params: wire.CommandExecParams, *, experimental: bool) -> None:
    profile = params.permission_profile
    if profile is not None:
        if not experimental:
            raise RpcError("command/exec.permissionProfile requires experimentalApi capability")
        if params.sandbox_policy is not None:
            raise RpcError("`permissionProfile` cannot be combined with `sandboxPolicy`")
        if profile not in PROFILE_MODES:
            raise RpcError(
                "invalid permission profile: default_permissions refers to unknown built-in profile "
                f"`{profile}`"
            )
    if not params.command:
        raise RpcError("command must not be empty")
    streaming = params.tty or params.stream_stdin or params.stream_stdout_stderr
    if streaming and params.process_id is None:
        raise RpcError("command/exec tty or streaming requires a client-supplied processId")
    if params.size is not None and not params.tty:
        raise RpcError("command/exec size requires tty: true", INVALID_PARAMS)
    if params.output_bytes_cap is not None and params.disable_output_cap:
        raise RpcError("command/exec cannot set both outputBytesCap and disableOutputCap", INVALID_PARAMS)
    if params.timeout_ms is not None and params.disable_timeout:
        raise RpcError("command/exec cannot set both timeoutMs and disableTimeout", INVALID_PARAMS)
    if params.timeout_ms is not None and params.timeout_ms < 0:
        raise RpcError(
            f"command/exec timeoutMs must be non-negative, got {params.timeout_ms}", INVALID_PARAMS
        )
    if params.size is not None:
        _check_size(params.size)


def _check_size(size: wire.CommandExecTerminalSize) -> None:
    if not (size.rows and size.cols):
        raise RpcError("command/exec size rows and cols must be greater than 0", INVALID_PARAMS)


def _refusal(error: SandboxError) -> RpcError:
    """Why a command was not started, where the peer has words for it in those."""
    text = str(error)
    if isinstance(error, CwdMissingError):
        text = "No such file or directory (os error 2)"
    elif isinstance(error, EmptyCommandError):
        if "NUL" not in text:
            return RpcError(text)
        text = "nul byte found in provided data"
    return RpcError(f"failed to spawn command: {text}", INTERNAL_ERROR)


def _response(running: _Running, plan: ExecPlan, result: ExecResult) -> wire.CommandExecResponse:
    failed = result.setup_failed
    if failed is not None:
        text = f"failed to spawn command: {failed.reason} {failed.remedy}".rstrip()
        raise RpcError(text, INTERNAL_ERROR)
    if not result.started and plan.backend == Direct.name:
        missing = result.exit_code == NOT_FOUND
        text = "No such file or directory (os error 2)" if missing else "Permission denied (os error 13)"
        raise RpcError(f"failed to spawn command: {text}", INTERNAL_ERROR)
    code = result.exit_code
    if running.terminated and result.ended and not result.timed_out:
        code = HUNG_UP if running.params.tty else KILLED
    return wire.CommandExecResponse(
        exit_code=code,
        stdout=_text(result.output.raw()),
        stderr=_text(result.stderr.raw()) if result.stderr is not None else "",
    )


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
