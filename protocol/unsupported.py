"""The methods of the peer that this server knows and does not serve, each with the reason.

A request for one of them is refused with -32601, so that a client can tell what is left out on purpose from a request
that is wrong. A method is either here or in `protocol.methods`, never in both.
"""

from __future__ import annotations

import msgspec

from protocol.rpc import METHOD_UNSUPPORTED, RpcError

__all__ = ["GROUPS", "UNSUPPORTED", "Group", "Unsupported", "refusal"]


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Methods that are left out for one reason. `because` completes "... is not supported: "."""

    subject: str
    because: str
    stable: tuple[str, ...] = ()
    experimental: tuple[str, ...] = ()
    """As in the peer, refused first where the client did not ask for the experimental interface."""


class Unsupported(msgspec.Struct, frozen=True):
    name: str
    group: Group
    experimental: bool


GROUPS = (
    Group(
        subject="Apps and plugins",
        because="this server has no apps, plugins or marketplaces",
        stable=(
            "app/installed",
            "app/read",
            "marketplace/add",
            "marketplace/remove",
            "marketplace/upgrade",
            "plugin/install",
            "plugin/installed",
            "plugin/list",
            "plugin/read",
            "plugin/reconcile",
            "plugin/share/checkout",
            "plugin/share/delete",
            "plugin/share/list",
            "plugin/share/save",
            "plugin/share/updateTargets",
            "plugin/skill/read",
            "plugin/uninstall",
        ),
        experimental=("plugin/search",),
    ),
    Group(
        subject="Services of the vendor's account",
        because="it is a service of the vendor's accounts, which this server uses to call models only",
        stable=(
            "account/gatewayOAuth/cancel",
            "account/gatewayOAuth/login",
            "account/gatewayOAuth/read",
            "account/rateLimitResetCredit/consume",
            "account/securitySetup/read",
            "account/sendAddCreditsNudgeEmail",
            "account/workspaceMessages/read",
        ),
        experimental=("accountSession/list", "accountSession/switch"),
    ),
    Group(
        subject="Models in clouds",
        because="a provider is set up in config.toml",
        stable=("modelProvider/config/write",),
        experimental=(
            "account/bedrock/checkGovCloudRequirements",
            "account/bedrock/discover",
            "account/bedrock/setup",
            "account/gcp/setup",
        ),
    ),
    Group(
        subject="Verification of the user",
        because="this server has no user verification",
        experimental=(
            "userVerification/cancel",
            "userVerification/delete",
            "userVerification/enroll",
            "userVerification/status",
            "userVerification/verify",
        ),
    ),
    Group(
        subject="Remote control",
        because="this server is reached over its own listeners only and never dials out to be controlled",
        experimental=(
            "remoteControl/client/list",
            "remoteControl/client/revoke",
            "remoteControl/disable",
            "remoteControl/enable",
            "remoteControl/pairing/start",
            "remoteControl/pairing/status",
            "remoteControl/status/read",
        ),
    ),
    Group(
        subject="Other environments",
        because="threads run on the machine of the server only",
        experimental=("environment/add", "environment/info", "environment/status"),
    ),
    Group(
        subject="Processes outside of threads",
        because="processes are started by `command/exec`, inside the sandbox",
        experimental=("process/kill", "process/resizePty", "process/spawn", "process/writeStdin"),
    ),
    Group(
        subject="Projects and sections",
        because="threads are not sorted into projects or sections here; a client may keep such lists itself",
        stable=(
            "thread/section/move",
            "threadSection/create",
            "threadSection/delete",
            "threadSection/list",
            "threadSection/update",
        ),
        experimental=(
            "project/create",
            "project/delete",
            "project/import",
            "project/list",
            "project/move",
            "project/read",
            "project/update",
        ),
    ),
    Group(
        subject="Attachments of threads",
        because="threads have no attachments here",
        stable=(
            "thread/attachment/add",
            "thread/attachment/list",
            "thread/attachment/remove",
            "thread/attachmentOwner/list",
        ),
    ),
    Group(
        subject="Voice",
        because="this server has no voice conversations",
        experimental=(
            "thread/realtime/appendAudio",
            "thread/realtime/appendSpeech",
            "thread/realtime/appendText",
            "thread/realtime/listVoices",
            "thread/realtime/start",
            "thread/realtime/stop",
        ),
    ),
    Group(
        subject="Memories",
        because="this server keeps nothing of a thread but its rollout",
        experimental=(
            "memory/reset",
            "memory/status",
            "thread/memory/read",
            "thread/memoryMode/set",
        ),
    ),
    Group(
        subject="Queued messages",
        because="this server keeps no queue of messages; `turn/steer` adds input to a running turn",
        experimental=(
            "thread/queue/add",
            "thread/queue/delete",
            "thread/queue/list",
            "thread/queue/reorder",
            "thread/queue/start",
            "thread/queue/update",
        ),
    ),
    Group(
        subject="Review of approvals by a model",
        because="approvals are answered by clients, not by a reviewing model",
        stable=("thread/approveGuardianDeniedAction",),
        experimental=("thread/guardianReview",),
    ),
    Group(
        subject="Aids of one client",
        because="it serves the windows of the vendor's own client",
        experimental=(
            "thread/decrement_elicitation",
            "thread/increment_elicitation",
            "thread/prediction/request",
            "thread/prepareApprovedPlan",
            "thread/sample",
            "thread/sample/cancel",
            "thread/searchOccurrences",
            "thread/timeline/list",
            "turn/settings/update",
        ),
    ),
    Group(
        subject="Import from other agents",
        because="this server imports no settings or threads of other agents",
        stable=(
            "externalAgentConfig/detect",
            "externalAgentConfig/import",
            "externalAgentConfig/import/readHistories",
            "externalAgentConfig/import/recordHistory",
        ),
    ),
    Group(
        subject="Upkeep of the peer's own process and files",
        because="it is about the inside of another server; `bulkhead ps` shows the inside of this one",
        experimental=("mock/experimentalMethod", "rollout/compress", "server/diagnostics"),
    ),
    Group(
        subject="Windows",
        because="this server runs on Linux",
        stable=("windowsSandbox/readiness", "windowsSandbox/setupStart"),
    ),
    Group(
        subject="Settings changed while the server runs",
        because="features and folders of skills are set in config.toml",
        stable=("experimentalFeature/enablement/set", "skills/config/write", "skills/extraRoots/set"),
    ),
    Group(
        subject="Events of MCP servers",
        because="what MCP servers say unasked is not passed on",
        experimental=("mcpServer/event/stream/start", "mcpServer/event/stream/stop"),
    ),
)

UNSUPPORTED: dict[str, Unsupported] = {
    name: Unsupported(name, group, experimental)
    for group in GROUPS
    for names, experimental in ((group.stable, False), (group.experimental, True))
    for name in names
}


def refusal(method: Unsupported) -> RpcError:
    return RpcError(f"{method.name} is not supported: {method.group.because}", METHOD_UNSUPPORTED)
