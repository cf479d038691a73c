"""Params and results of the old methods, in the spelling of 0.58."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from protocol.base import NoParams, Params, Wire

__all__ = [
    "AddConversationListenerParams",
    "AddConversationSubscriptionResponse",
    "ArchiveConversationParams",
    "CancelLoginChatGptParams",
    "ConversationGitInfo",
    "ConversationSummary",
    "Empty",
    "ExecOneOffCommandParams",
    "ExecOneOffCommandResponse",
    "GetConversationSummaryParams",
    "GetConversationSummaryResponse",
    "GetUserAgentResponse",
    "GetUserSavedConfigResponse",
    "ImageData",
    "ImageItem",
    "InputItem",
    "InterruptConversationParams",
    "InterruptConversationResponse",
    "ListConversationsParams",
    "ListConversationsResponse",
    "LocalImageData",
    "LocalImageItem",
    "LoginApiKeyParams",
    "LoginChatGptResponse",
    "NewConversationParams",
    "NewConversationResponse",
    "NoParams",
    "OldFullAccess",
    "OldReadOnly",
    "OldSandboxPolicy",
    "OldWorkspaceWrite",
    "RemoveConversationListenerParams",
    "ResumeConversationParams",
    "ResumeConversationResponse",
    "SendUserMessageParams",
    "SendUserTurnParams",
    "SetDefaultModelParams",
    "TextData",
    "TextItem",
    "UserInfoResponse",
]

Policy = Literal["untrusted", "on-failure", "on-request", "never"]
SandboxMode = Literal["read-only", "workspace-write", "danger-full-access"]


class Empty(Wire, kw_only=True):
    """The result `{}`."""


class NewConversationParams(Params, kw_only=True):
    model: str | None = None
    model_provider: str | None = None
    profile: str | None = None
    cwd: str | None = None
    approval_policy: Policy | None = None
    sandbox: SandboxMode | None = None
    config: dict[str, Any] | None = None
    base_instructions: str | None = None
    developer_instructions: str | None = None


class NewConversationResponse(Wire, kw_only=True):
    conversation_id: str
    model: str
    reasoning_effort: str | None = None
    rollout_path: str


class AddConversationListenerParams(Params, kw_only=True):
    conversation_id: str
    experimental_raw_events: bool = False


class AddConversationSubscriptionResponse(Wire, kw_only=True):
    subscription_id: str


class RemoveConversationListenerParams(Params, kw_only=True):
    subscription_id: str


class TextData(Params, kw_only=True):
    text: str


class ImageData(Params, rename={"image_url": "image_url"}, kw_only=True):
    image_url: str


class LocalImageData(Params, kw_only=True):
    path: str


class TextItem(Params, tag_field="type", tag="text", kw_only=True):
    data: TextData


class ImageItem(Params, tag_field="type", tag="image", kw_only=True):
    data: ImageData


class LocalImageItem(Params, tag_field="type", tag="localImage", kw_only=True):
    data: LocalImageData


InputItem = TextItem | ImageItem | LocalImageItem


class SendUserMessageParams(Params, kw_only=True):
    conversation_id: str
    items: list[InputItem]


class _Old(msgspec.Struct, tag_field="mode", kw_only=True):
    """A sandbox policy of old: kebab-case in `mode`, snake_case in the rest."""


class OldFullAccess(_Old, tag="danger-full-access", kw_only=True):
    pass


class OldReadOnly(_Old, tag="read-only", kw_only=True):
    pass


class OldWorkspaceWrite(_Old, tag="workspace-write", kw_only=True):
    writable_roots: list[str] = []
    network_access: bool = False
    exclude_tmpdir_env_var: bool = False
    exclude_slash_tmp: bool = False


OldSandboxPolicy = OldFullAccess | OldReadOnly | OldWorkspaceWrite


class SendUserTurnParams(Params, kw_only=True):
    conversation_id: str
    items: list[InputItem]
    cwd: str
    approval_policy: Policy
    sandbox_policy: OldSandboxPolicy
    model: str
    effort: str | None = None
    summary: Literal["auto", "concise", "detailed", "none"]


class InterruptConversationParams(Params, kw_only=True):
    conversation_id: str


class InterruptConversationResponse(Wire, kw_only=True):
    abort_reason: Literal["interrupted", "replaced", "review_ended"]


class ListConversationsParams(Params, kw_only=True):
    page_size: int | None = None
    cursor: str | None = None
    model_providers: list[str] | None = None


class ConversationGitInfo(Wire, rename=None, kw_only=True):
    sha: str | None = None
    branch: str | None = None
    origin_url: str | None = None


class ConversationSummary(Wire, kw_only=True):
    """`timestamp` and `updated_at`: RFC 3339, when the conversation began, and when it was last said something in."""

    conversation_id: str
    path: str
    preview: str
    timestamp: str | None = None
    updated_at: str | None = None
    model_provider: str
    cwd: str
    cli_version: str
    source: Any
    git_info: ConversationGitInfo | None = None


class ListConversationsResponse(Wire, kw_only=True):
    items: list[ConversationSummary]
    next_cursor: str | None = None


class ResumeConversationParams(Params, kw_only=True):
    """One of the first three says which; the rollout's path is enough."""

    path: str | None = None
    conversation_id: str | None = None
    history: list[Any] | None = None
    overrides: NewConversationParams | None = None


class ResumeConversationResponse(Wire, kw_only=True):
    conversation_id: str
    model: str
    initial_messages: list[Any] | None = None
    rollout_path: str


class ArchiveConversationParams(Params, kw_only=True):
    conversation_id: str
    rollout_path: str


class GetConversationSummaryParams(Params, kw_only=True):
    rollout_path: str | None = None
    conversation_id: str | None = None


class GetConversationSummaryResponse(Wire, kw_only=True):
    summary: ConversationSummary


class GetUserAgentResponse(Wire, kw_only=True):
    user_agent: str


class SetDefaultModelParams(Params, kw_only=True):
    model: str | None = None
    reasoning_effort: str | None = None


class LoginApiKeyParams(Params, kw_only=True):
    api_key: str


class LoginChatGptResponse(Wire, kw_only=True):
    login_id: str
    auth_url: str


class CancelLoginChatGptParams(Params, kw_only=True):
    login_id: str


class UserInfoResponse(Wire, kw_only=True):
    alleged_user_email: str | None = None


class GetUserSavedConfigResponse(Wire, kw_only=True):
    """`config`: camelCase, what the user's file sets of what old clients knew."""

    config: dict[str, Any]


class ExecOneOffCommandParams(Params, kw_only=True):
    command: list[str]
    timeout_ms: int | None = None
    cwd: str | None = None
    sandbox_policy: OldSandboxPolicy | None = None


class ExecOneOffCommandResponse(Wire, kw_only=True):
    exit_code: int
    stdout: str
    stderr: str
