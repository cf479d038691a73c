"""Having changes reviewed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from protocol import review as wire
from protocol import rpc
from protocol.items import UserMessageItem
from protocol.turns import Turn
from protocol.user_input import TextInput
from rollouts.reviews import hint_of
from sandbox_backends.env import ShellEnvironmentPolicy, environment
from sandbox_backends.errors import SandboxError
from sandbox_backends.planner import plan
from sandbox_backends.runner import run_with_plan
from workers.call import Call
from workers.review_turn import ReviewTurn
from workers.session import Session

if TYPE_CHECKING:
    from workers.thread import ThreadService

GIT_TIMEOUT_MS = 5_000
"""For the merge base; without it the reviewer finds it himself."""


async def start(service: ThreadService, call: Call) -> None:
    session = service.loaded()
    target = call.params.target
    _check(target)
    hint = hint_of(msgspec.to_builtins(target))
    prompt = await _prompt(session, target)
    await service.turns.make_way()
    turn = ReviewTurn(session, service.access, service.toolbox, service.approvals, hint=hint, prompt=prompt)
    shown = Turn(
        id=turn.id,
        items=[UserMessageItem(id=turn.id, content=[TextInput(text=hint)])],
        status="inProgress",
    )
    call.accept_turn(session, turn.id, wire.ReviewStartResponse(turn=shown, review_thread_id=session.id))
    service.turns.run(turn)


def _check(target: wire.ReviewTarget) -> None:
    match target:
        case wire.BaseBranchTarget() if not target.branch.strip():
            raise rpc.RpcError("branch must not be empty")
        case wire.CommitTarget() if not target.sha.strip():
            raise rpc.RpcError("sha must not be empty")
        case wire.CustomTarget() if not target.instructions.strip():
            raise rpc.RpcError("instructions must not be empty")
        case _:
            pass


async def _prompt(session: Session, target: wire.ReviewTarget) -> str:
    """What the reviewer is asked. Clients see it as the user's message, in the peer's words."""
    match target:
        case wire.UncommittedChangesTarget():
            return (
                "Review the current code changes (staged, unstaged, and untracked files) and provide "
                "prioritized findings."
            )
        case wire.BaseBranchTarget(branch=branch):
            base = await _merge_base(session, branch.strip())
            if base is None:
                return (
                    f"Review the code changes against the base branch '{branch}'. Find the merge base of HEAD and "
                    f"that branch or its upstream first, and look at the diff against it. "
                    "Provide prioritized, actionable findings."
                )
            return (
                f"Review the code changes against the base branch '{branch}'. The merge base commit for this "
                f"comparison is {base}. Run `git diff {base}` to inspect the changes relative to {branch}. "
                "Provide prioritized, actionable findings."
            )
        case wire.CommitTarget(sha=sha, title=title):
            named = f'commit {sha} ("{title}")' if title else f"commit {sha}"
            return f"Review the code changes introduced by {named}. Provide prioritized, actionable findings."
        case wire.CustomTarget(instructions=instructions):
            return instructions.strip()


async def _merge_base(session: Session, branch: str) -> str | None:
    """Asked of git in the thread's own sandbox: a repository may bring programs that git runs."""
    settings = session.settings
    policy = ShellEnvironmentPolicy(**msgspec.structs.asdict(settings.shell_environment))
    try:
        prepared = plan(
            ["git", "merge-base", "--", "HEAD", branch],
            cwd=settings.cwd,
            policy=settings.sandbox,
            env=environment(policy, os.environ, thread_id=session.id),
            own=session.own,
            timeout_ms=GIT_TIMEOUT_MS,
            streams="split",
        )
        result = await (await run_with_plan(prepared)).wait()
    except SandboxError:
        return None
    return result.output.text().strip() or None if result.exit_code == 0 else None
