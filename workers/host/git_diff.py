"""`gitDiffToRemote`: one shell script in a read-only sandbox, since a repository's configuration can name programs."""

from __future__ import annotations

import json
import os

from protocol.git import GitDiffToRemoteParams, GitDiffToRemoteResponse
from protocol.policy import ReadOnly
from protocol.rpc import RpcError
from sandbox_backends.errors import SandboxError
from sandbox_backends.planner import plan
from sandbox_backends.runner import run_with_plan
from workers.host.request import HostRequest

__all__ = ["diff_to_remote"]

TIMEOUT_MS = 60_000
DIFF_LIMIT = 64 * 1024 * 1024
"""A larger diff is refused: half of one cannot be applied."""
SCRIPT = r"""
set -e
test -n "$(git for-each-ref --count=1 refs/remotes)"
git rev-parse --verify --quiet HEAD >/dev/null
base=$(git rev-list --boundary HEAD --not --remotes | sed -n '/^-/{s/^-//p;q;}')
if [ -z "$base" ]; then
    # Nothing that no remote has, or nothing that one has.
    test -z "$(git rev-list --max-count=1 HEAD --not --remotes)"
    base=$(git rev-parse HEAD)
fi
echo "$base"
git diff --no-textconv --no-ext-diff --binary "$base" --
cd "$(git rev-parse --show-toplevel)"
git ls-files --others --exclude-standard -z |
    xargs -0 -r -n 1 git diff --no-textconv --no-ext-diff --binary --no-index -- /dev/null || test $? = 123
"""
"""Prints the commit, then the diff. `git diff --no-index` ends with 1 where files differ, which xargs makes 123."""


async def diff_to_remote(request: HostRequest) -> GitDiffToRemoteResponse:
    cwd = request.params(GitDiffToRemoteParams).cwd
    refusal = RpcError(f"failed to compute git diff to remote for cwd: {json.dumps(cwd, ensure_ascii=False)}")
    if not os.path.isabs(cwd):
        raise refusal
    try:
        prepared = await request.blocking(
            lambda: plan(
                ("/bin/sh", "-c", SCRIPT),
                cwd=cwd,
                policy=ReadOnly(),
                env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
                timeout_ms=TIMEOUT_MS,
                output_cap=DIFF_LIMIT,
                output_keep="head",
                streams="split",
            )
        )
        result = await (await run_with_plan(prepared)).wait()
    except SandboxError:
        raise refusal from None
    if result.exit_code != 0 or result.output.omitted:
        raise refusal
    sha, _, diff = result.output.raw().partition(b"\n")
    return GitDiffToRemoteResponse(sha=sha.decode(), diff=diff.decode("utf-8", "replace"))
