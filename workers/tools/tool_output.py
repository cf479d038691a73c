"""The texts a tool call gives back to the model."""

from __future__ import annotations

import json

__all__ = [
    "APPROVAL_FAILED",
    "DEFAULT_MAX_TOKENS",
    "PATCH_DECLINED",
    "REJECTED_BY_USER",
    "bad_arguments",
    "exec_rejected",
    "exec_result",
    "mcp_header",
    "patch_result",
    "token_count",
    "truncated",
    "unknown_process",
    "unknown_tool",
]

BYTES_PER_TOKEN = 4
"""A rough mean over text and code; a tokenizer of the right model would cost more than the estimate is worth."""

DEFAULT_MAX_TOKENS = 10_000

REJECTED_BY_USER = "rejected by user"
APPROVAL_FAILED = "approval request failed"
PATCH_DECLINED = "patch rejected by user"


def token_count(size: int) -> int:
    """Tokens in `size` bytes, rounded up."""
    return -(-size // BYTES_PER_TOKEN)


def truncated(text: str, max_tokens: int, omitted_bytes: int = 0) -> str:
    """`text` within `max_tokens`: head and tail kept, a marker and a warning where the middle was.

    `omitted_bytes`: what the caller has dropped from the middle of the output before. Text that fits is returned as
    it is.
    """
    data = text.encode(errors="replace")
    budget = max(max_tokens, 0) * BYTES_PER_TOKEN
    total = len(data) + omitted_bytes
    if total <= budget:
        return text
    head_size = min(budget, len(data)) // 2
    tail_size = min(budget, len(data)) - head_size
    head = data[:head_size].decode(errors="ignore")
    tail = data[len(data) - tail_size :].decode(errors="ignore")
    size = (
        f"... {omitted_bytes} bytes omitted ..."
        if omitted_bytes
        else f"Total output lines: {text.count(chr(10)) + (not text.endswith(chr(10)))}"
    )
    gone = token_count(total - head_size - tail_size)
    return (
        f"Warning: truncated output (original token count: {token_count(total)})\n{size}\n\n"
        f"{head}…{gone} tokens truncated…{tail}"
    )


def exec_result(
    output: str,
    *,
    chunk_id: str,
    wall_seconds: float,
    exit_code: int | None = None,
    session_id: int | None = None,
    max_tokens: int = DEFAULT_MAX_TOKENS,
    omitted_bytes: int = 0,
    size: int | None = None,
) -> str:
    """What `exec_command` and `write_stdin` give back.

    `chunk_id` is six hex digits. Exactly one of `exit_code` (the process ended) and `session_id` (it runs on) is
    given. `omitted_bytes` as for `truncated`; `size`: of what was printed, where `output` stands for other bytes.
    """
    if (exit_code is None) == (session_id is None):
        raise ValueError("a process has either ended or a session")
    state = (
        f"Process running with session ID {session_id}"
        if exit_code is None
        else f"Process exited with code {exit_code}"
    )
    tokens = token_count(len(output.encode(errors="replace")) + omitted_bytes if size is None else size)
    return (
        f"Chunk ID: {chunk_id}\nWall time: {wall_seconds:.4f} seconds\n{state}\n"
        f"Original token count: {tokens}\nOutput:\n{truncated(output, max_tokens, omitted_bytes)}"
    )


def patch_result(output: str, *, exit_code: int, wall_seconds: float) -> str:
    """What `apply_patch` gives back once it was tried: the summary or the error of the patch program."""
    return f"Exit code: {exit_code}\nWall time: {round(wall_seconds, 1):g} seconds\nOutput:\n{output}"


def exec_rejected(reason: str) -> str:
    """A command that was not started. `reason`: a sentence, or one of the constants above."""
    # the peer prints its own error type; the text is quoted once per nested type
    inner = json.dumps(reason, ensure_ascii=False)
    return f"exec_command failed: CreateProcess {{ message: {json.dumps(f'Rejected({inner})', ensure_ascii=False)} }}"


def bad_arguments(reason: str) -> str:
    """Arguments that do not decode; `reason` says what and where."""
    return f"failed to parse function arguments: {reason}"


def unknown_tool(name: str) -> str:
    return f"unsupported call: {name}"


def unknown_process(session_id: int) -> str:
    return f"write_stdin failed: Unknown process id {session_id}"


def mcp_header(wall_seconds: float) -> str:
    """What stands before the result of a tool that is no command of its own: an MCP tool, a patch in a script."""
    return f"Wall time: {wall_seconds:.4f} seconds\nOutput:"
