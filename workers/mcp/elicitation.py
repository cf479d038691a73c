"""What an MCP server asks its user, asked of the clients of the thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from protocol.mcp import McpServerElicitationRequestParams, McpServerElicitationRequestResponse
from protocol.policy import GranularApproval
from workers.approvals import Approvals, Unanswerable
from workers.session import Session

__all__ = ["ask_client", "elicit"]

METHOD = "mcpServer/elicitation/request"
DECLINED = McpServerElicitationRequestResponse(action="decline")


async def ask_client(
    approvals: Approvals, question: McpServerElicitationRequestParams
) -> McpServerElicitationRequestResponse:
    """Ask, with the thread's turn shown as waiting, if there is one; what is no answer declines."""
    in_turn = question.turn_id is not None
    if in_turn:
        approvals.waiting()
    try:
        return await approvals.ask(METHOD, question, McpServerElicitationRequestResponse)
    except Unanswerable:
        return DECLINED
    finally:
        if in_turn:
            approvals.resume()


async def elicit(
    session: Session, approvals: Approvals, turn_id: str | None, server: str, params: Mapping[str, Any]
) -> dict[str, Any]:
    """The result for the server."""
    if not _allowed(session):
        return {"action": "decline"}
    question = McpServerElicitationRequestParams(
        thread_id=session.id,
        turn_id=turn_id,
        server_name=server,
        mode="url" if params.get("mode") == "url" else "form",
        meta=params.get("_meta"),
        message=str(params.get("message", "")),
    )
    if question.mode == "url":
        question.url = str(params.get("url", ""))
        question.elicitation_id = str(params.get("elicitationId", ""))
    else:
        question.requested_schema = params.get("requestedSchema")
    answer = await ask_client(approvals, question)
    if answer.action != "accept":
        return {"action": answer.action}
    content = answer.content if isinstance(answer.content, dict) else {}
    return {"action": "accept", "content": content}


def _allowed(session: Session) -> bool:
    policy = session.settings.approval_policy
    if isinstance(policy, GranularApproval):
        return policy.granular.mcp_elicitations
    return policy != "never"
