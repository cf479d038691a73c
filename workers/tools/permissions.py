"""`request_permissions`: the model asks the user for more than its sandbox allows, before a command needs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from protocol.permissions import (
    GrantedPermissionProfile,
    PermissionsRequestApprovalParams,
    PermissionsRequestApprovalResponse,
)
from protocol.policy import ApprovalPolicy, GranularApproval
from workers.approvals import Unanswerable
from workers.permissions import Asked, Permissions, asked_permissions, ungrantable
from workers.session import now_ms
from workers.tools.tool import Call, ToolRefused, TurnScope, arguments_of, function, record

__all__ = ["SCHEMA", "RequestPermissions"]

ENVIRONMENT = "local"
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "description": "What is needed beyond the sandbox.",
    "properties": {
        "network": record({"enabled": {"type": "boolean", "description": "True: access to the network."}}),
        "file_system": record(
            {
                "read": {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": "Folders to read, as absolute paths.",
                },
                "write": {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": "Folders to write in, which must exist, as absolute paths.",
                },
            },
        ),
    },
    "additionalProperties": False,
}


class RequestArguments(msgspec.Struct):
    permissions: Asked
    reason: str | None = None
    environment_id: str | None = None


class RequestPermissions:
    name = "request_permissions"

    def definition(self) -> Mapping[str, Any]:
        return function(
            self.name,
            "Asks the user for permissions that the sandbox does not give, and waits. What he grants "
            "(it may be less) holds for the commands and patches that follow, in this turn or in the whole session.",
            {
                "permissions": SCHEMA,
                "reason": {"type": "string", "description": "For the user: what they are needed for."},
                "environment_id": {
                    "type": "string",
                    "description": f"Where they are needed; there is only `{ENVIRONMENT}`.",
                },
            },
            required=["permissions"],
        )

    async def call(self, scope: TurnScope, call: Call) -> str:
        arguments = arguments_of(call, RequestArguments)
        if arguments.environment_id not in (None, ENVIRONMENT):
            raise ToolRefused(f"unknown turn environment id `{arguments.environment_id}`")
        settings = scope.session.settings
        asked = asked_permissions(arguments.permissions, settings.cwd)
        if not asked:
            raise ToolRefused("request_permissions requires at least one permission")
        reason = ungrantable(asked)
        if reason is not None:
            raise ToolRefused(reason)
        answer = PermissionsRequestApprovalResponse(permissions=GrantedPermissionProfile())
        if _may_ask(settings.approval_policy):
            answer = await self._ask(scope, call, asked, arguments.reason)
        granted = asked.granted(answer.permissions)
        scope.grant(granted, session=answer.scope == "session")
        told: dict[str, Any] = {"permissions": granted.told(), "scope": answer.scope}
        if answer.strict_auto_review is True:
            told["strict_auto_review"] = True
        return msgspec.json.encode(told).decode()

    @staticmethod
    async def _ask(
        scope: TurnScope, call: Call, asked: Permissions, reason: str | None
    ) -> PermissionsRequestApprovalResponse:
        params = PermissionsRequestApprovalParams(
            thread_id=scope.session.id,
            turn_id=scope.turn_id,
            item_id=call.id,
            environment_id=ENVIRONMENT,
            started_at_ms=now_ms(),
            cwd=scope.session.settings.cwd,
            reason=reason,
            permissions=asked.shown(),
        )
        scope.approvals.waiting()
        try:
            answer = await scope.approvals.ask(
                "item/permissions/requestApproval", params, PermissionsRequestApprovalResponse
            )
        except Unanswerable:
            answer = PermissionsRequestApprovalResponse(permissions=GrantedPermissionProfile())
        scope.approvals.resume()
        return answer


def _may_ask(policy: ApprovalPolicy) -> bool:
    if isinstance(policy, GranularApproval):
        return policy.granular.request_permissions
    return policy != "never"
