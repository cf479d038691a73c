"""Fields of the experimental interface: they are on the wire, but only an experimental export shows them.

As in the peer, where clients that are made from the stable schema ignore what they do not know.
"""

from __future__ import annotations

__all__ = ["FIELDS"]

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
