"""The table of the old methods: rows as in `protocol.methods`, all of them the front's.

Each is served by a request of today's protocol, so its order is that request's.
"""

from __future__ import annotations

from protocol.methods import Method, Notification, Order, Owner, ServerRequest
from protocol.v1 import conversations as c
from protocol.v1 import events

__all__ = ["V1_METHODS", "V1_NOTIFICATIONS", "V1_SERVER_REQUESTS"]


def _row(name: str, params: type, result: type) -> Method:
    return Method(name, params, result, Owner.FRONT, Order.NONE)


_METHODS = (
    _row("newConversation", c.NewConversationParams, c.NewConversationResponse),
    _row("listConversations", c.ListConversationsParams, c.ListConversationsResponse),
    _row("resumeConversation", c.ResumeConversationParams, c.ResumeConversationResponse),
    _row("archiveConversation", c.ArchiveConversationParams, c.Empty),
    _row("getConversationSummary", c.GetConversationSummaryParams, c.GetConversationSummaryResponse),
    _row("addConversationListener", c.AddConversationListenerParams, c.AddConversationSubscriptionResponse),
    _row("removeConversationListener", c.RemoveConversationListenerParams, c.Empty),
    _row("sendUserMessage", c.SendUserMessageParams, c.Empty),
    _row("sendUserTurn", c.SendUserTurnParams, c.Empty),
    _row("interruptConversation", c.InterruptConversationParams, c.InterruptConversationResponse),
    _row("loginApiKey", c.LoginApiKeyParams, c.Empty),
    _row("loginChatGpt", c.NoParams, c.LoginChatGptResponse),
    _row("cancelLoginChatGpt", c.CancelLoginChatGptParams, c.Empty),
    _row("logoutChatGpt", c.NoParams, c.Empty),
    _row("getUserAgent", c.NoParams, c.GetUserAgentResponse),
    _row("userInfo", c.NoParams, c.UserInfoResponse),
    _row("getUserSavedConfig", c.NoParams, c.GetUserSavedConfigResponse),
    _row("setDefaultModel", c.SetDefaultModelParams, c.Empty),
    _row("execOneOffCommand", c.ExecOneOffCommandParams, c.ExecOneOffCommandResponse),
)

V1_METHODS: dict[str, Method] = {row.name: row for row in _METHODS}

V1_NOTIFICATIONS: dict[str, Notification] = {
    row.name: row
    for row in (
        Notification("sessionConfigured", events.SessionConfigured),
        Notification("authStatusChange", events.AuthStatusChange),
        Notification("loginChatGptComplete", events.LoginChatGptComplete),
    )
}
"""Beside them `codex/event/TYPE`, all with the params `CodexEvent`."""

V1_SERVER_REQUESTS: dict[str, ServerRequest] = {
    row.name: row
    for row in (
        ServerRequest("execCommandApproval", events.ExecCommandApprovalParams, events.ReviewDecision),
        ServerRequest("applyPatchApproval", events.ApplyPatchApprovalParams, events.ReviewDecision),
    )
}
