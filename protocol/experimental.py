"""Fields of the experimental interface: only an experimental export shows them, and only who asked for it may send them.

The server sends them to all: clients that are made from the stable schema ignore what they do not know.
"""

from __future__ import annotations

import functools
from typing import Any

import msgspec

from protocol.policy import GranularApproval
from protocol.rpc import RpcError

__all__ = ["FIELDS", "refuse_unasked"]

FIELDS: dict[str, tuple[str, ...]] = {
    "CommandExecParams": ("permissionProfile",),
    "CommandExecutionRequestApprovalParams": (
        "additionalPermissions",
        "availableDecisions",
    ),
    "Config": ("apps",),
    "ConfigRequirements": (
        "allowedApprovalsReviewers",
        "application",
        "hooks",
        "network",
    ),
    "GetAccountResponse": ("workspaceRouting",),
    "Thread": (
        "attachedToThreadId",
        "canAcceptDirectInput",
        "daybreakEnabled",
        "environments",
        "extra",
    ),
    "ThreadForkParams": (
        "attachToSource",
        "beforeTurnId",
        "deferGoalContinuation",
        "experimentalDisablePredictionMcp",
        "experimentalPredictionMode",
        "path",
        "permissions",
        "runtimeWorkspaceRoots",
    ),
    "ThreadForkResponse": (
        "activePermissionProfile",
        "multiAgentMode",
        "runtimeWorkspaceRoots",
    ),
    "ThreadItemEntry": ("outputDeferred",),
    "ThreadItemOutputDeferral": (
        "commandExecution",
        "mcpToolCall",
    ),
    "ThreadListParams": (
        "ancestorThreadId",
        "attachedToThreadId",
        "includeAttachedThreads",
        "parentThreadId",
        "projectId",
    ),
    "ThreadListResponse": ("readStates",),
    "ThreadMetadataUpdateParams": (
        "daybreakEnabled",
        "projectId",
    ),
    "ThreadReadResponse": ("readState",),
    "ThreadResumeParams": (
        "history",
        "initialTurnsPage",
        "path",
        "permissions",
        "runtimeWorkspaceRoots",
    ),
    "ThreadResumeResponse": (
        "activePermissionProfile",
        "initialTurnsPage",
        "multiAgentMode",
        "runtimeWorkspaceRoots",
    ),
    "ThreadSettings": (
        "environments",
        "multiAgentMode",
    ),
    "ThreadStartParams": (
        "allowProviderModelFallback",
        "daybreakEnabled",
        "dynamicTools",
        "environments",
        "experimentalRawEvents",
        "historyMode",
        "mockExperimentalField",
        "multiAgentMode",
        "permissions",
        "projectId",
        "runtimeWorkspaceRoots",
        "selectedCapabilityRoots",
    ),
    "ThreadStartResponse": (
        "activePermissionProfile",
        "multiAgentMode",
        "runtimeWorkspaceRoots",
    ),
    "TurnStartParams": (
        "additionalContext",
        "collaborationMode",
        "cyberAccessProgram",
        "environments",
        "multiAgentMode",
        "permissions",
        "responsesapiClientMetadata",
        "responsesapiClientMetadataPatch",
        "runtimeWorkspaceRoots",
    ),
    "TurnSteerParams": (
        "additionalContext",
        "responsesapiClientMetadata",
        "responsesapiClientMetadataPatch",
    ),
}
"""Outside name of a type -> names of its fields on the wire."""


_REFUSAL = "{} requires experimentalApi capability"
_EMPTY = (b"null", b"false")
"""As good as absent. An empty list is a use."""


def refuse_unasked(method: str, params: msgspec.Raw | None, kind: type[msgspec.Struct]) -> None:
    """For a client that did not ask for the experimental interface.

    Only the named fields are looked at; what is wrong with the params otherwise is told when they are decoded.

    Raises:
        RpcError: it uses a field of it.
    """
    probe = _probe(kind)
    if probe is None or params is None:
        return
    try:
        found = msgspec.json.decode(params, type=probe)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    for field in msgspec.structs.fields(probe):
        raw = getattr(found, field.name)
        if not raw or bytes(raw) in _EMPTY:
            continue
        if field.name not in FIELDS.get(kind.__name__, ()):
            if b'"granular"' in bytes(raw):
                raise RpcError(_REFUSAL.format("askForApproval.granular"))
            continue
        raise RpcError(_REFUSAL.format(f"{method}.{field.name}"))


@functools.cache
def _probe(kind: type[msgspec.Struct]) -> type[msgspec.Struct] | None:
    """A struct of the fields to look at, undecoded; None if the type has none."""
    names = list(FIELDS.get(kind.__name__, ()))
    names += [field.encode_name for field in msgspec.structs.fields(kind) if _is_granular(field.type)]
    fields = [(name, msgspec.Raw, msgspec.Raw(b"")) for name in names]
    return msgspec.defstruct("Probe", fields) if fields else None


def _is_granular(annotation: Any) -> bool:
    return GranularApproval in getattr(annotation, "__args__", ())
