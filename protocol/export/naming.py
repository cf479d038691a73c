"""What a type is called outside: the peer's names, which generated clients import.

Most classes have them already. Notifications and server requests are named after their method, since several methods
may share a class.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterable
from typing import Any, Literal, Union, get_args, get_origin

from protocol.base import Absent

__all__ = ["Names", "members", "notification_name", "params_name", "pascal", "response_name"]

_RENAMED = {
    "ApprovalPolicy": "AskForApproval",
    "AuthStatusParams": "GetAuthStatusParams",
    "AuthStatusResponse": "GetAuthStatusResponse",
    "CancelLoginParams": "CancelLoginAccountParams",
    "CancelLoginResponse": "CancelLoginAccountResponse",
    "CommandDecision": "CommandExecutionApprovalDecision",
    "CommandSource": "CommandExecutionSource",
    "CommandStatus": "CommandExecutionStatus",
    "Credits": "CreditsSnapshot",
    "DailyTokens": "AccountTokenUsageDailyBucket",
    "Environment": "ThreadEnvironment",
    "FileDecision": "FileChangeApprovalDecision",
    "ItemsView": "TurnItemsView",
    "LoginParams": "LoginAccountParams",
    "LoginResponse": "LoginAccountResponse",
    "LogoutParams": "LogoutAccountParams",
    "LogoutResponse": "LogoutAccountResponse",
    "ModeSettings": "Settings",
    "PermissionProfile": "ActivePermissionProfile",
    "PlanStep": "TurnPlanStep",
    "RateLimitsParams": "GetAccountRateLimitsParams",
    "RateLimitsResponse": "GetAccountRateLimitsResponse",
    "ReadAccountParams": "GetAccountParams",
    "ReadAccountResponse": "GetAccountResponse",
    "ResetCredit": "RateLimitResetCredit",
    "ResetCredits": "RateLimitResetCreditsSummary",
    "Snapshot": "RateLimitSnapshot",
    "SpendLimit": "SpendControlLimitSnapshot",
    "TokenUsage": "TokenUsageBreakdown",
    "UsageParams": "GetAccountTokenUsageParams",
    "UsageResponse": "GetAccountTokenUsageResponse",
    "UsageSummary": "AccountTokenUsageSummary",
    "Window": "RateLimitWindow",
}
"""Our class or alias -> its name outside, where they differ."""

_NOTIFICATIONS = {
    "account/gatewayOAuth/changed": "GatewayOAuthChanged",
    "autoApprovalReview/strictReviewRequired": "StrictReviewRequired",
    "item/autoApprovalReview/completed": "ItemGuardianApprovalReviewCompleted",
    "item/autoApprovalReview/started": "ItemGuardianApprovalReviewStarted",
    "item/commandExecution/terminalInteraction": "TerminalInteraction",
    "mcpServer/event/stream/notification": "McpServerEventStream",
    "mcpServer/startupStatus/updated": "McpServerStatusUpdated",
    "modelProvider/authRecoveryCompleted": "AuthRecovery",
    "modelProvider/authRecoveryStarted": "AuthRecovery",
    "thread/compacted": "ContextCompacted",
    "thread/environment/connected": "EnvironmentConnection",
    "thread/environment/disconnected": "EnvironmentConnection",
}
"""Methods whose name does not tell that of the type."""
_SERVER_REQUESTS = {
    "account/chatgptAuthTokens/refresh": "ChatgptAuthTokensRefresh",
    "item/tool/call": "DynamicToolCall",
}


def pascal(method: str) -> str:
    """`thread/name/updated` -> `ThreadNameUpdated`; of `item/plan/delta` the first word is dropped, as the peer does."""
    words = method.replace("_", "/").split("/")
    if words[0] == "item" and len(words) > 2:
        del words[0]
    return "".join(word[:1].upper() + word[1:] for word in words)


def notification_name(method: str) -> str:
    return _NOTIFICATIONS.get(method, pascal(method)) + "Notification"


def params_name(method: str) -> str:
    """The params of a server request."""
    return _SERVER_REQUESTS.get(method, pascal(method)) + "Params"


def response_name(method: str) -> str:
    """What a client answers to a server request."""
    return _SERVER_REQUESTS.get(method, pascal(method)) + "Response"


def members(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of a union; of any other type itself."""
    if get_origin(annotation) in (Union, types.UnionType):
        return get_args(annotation)
    return (annotation,)


class Names:
    """Names of classes and of the unions and enumerations that their modules give a name to.

    Two classes of one name get the name of their module in front, unless one of them is the first by module name.
    """

    def __init__(self, classes: Iterable[type], taken: Iterable[str] = ()) -> None:
        self._classes: dict[type, str] = {}
        self._aliases: dict[frozenset[Any], str] = {}
        self._taken = set(taken)
        modules = sorted({cls.__module__ for cls in classes})
        for cls in sorted(classes, key=lambda cls: (cls.__module__, cls.__qualname__)):
            self._classes[cls] = self._free(cls.__name__.lstrip("_"), cls.__module__)
        for module in modules:
            for name, value in sorted(vars(sys.modules[module]).items()):
                key = frozenset(members(value)) if _nameable(value) else frozenset()
                if key and not name.startswith("_") and key not in self._aliases:
                    self._aliases[key] = self._free(name, module)

    def of_class(self, cls: type) -> str:
        return self._classes[cls]

    def of_union(self, parts: Iterable[Any]) -> str | None:
        """The name of these alternatives (without null), if they have one."""
        return self._aliases.get(frozenset(parts))

    def _free(self, name: str, module: str) -> str:
        name = _RENAMED.get(name, name)
        if name in self._taken:
            room = module.rpartition(".")[2]
            name = pascal(room) + name
        while name in self._taken:
            name += "2"
        self._taken.add(name)
        return name


def _nameable(value: Any) -> bool:
    parts = members(value)
    if any(part in (type(None), Absent) for part in parts):
        return False
    return get_origin(value) is Literal or len(parts) > 1
