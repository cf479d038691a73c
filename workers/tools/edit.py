"""`apply_patch`: checked here, applied by a program of its own inside the sandbox."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from protocol.items import FileChangeItem
from protocol.notifications import (
    FileChangeApprovalParams,
    FileChangeApprovalResponse,
    TurnDiffUpdated,
)
from protocol.policy import DangerFullAccess, ExternalSandbox, ReadOnly
from sandbox_backends import view
from sandbox_backends.errors import SandboxError
from sandbox_backends.plan import Ids
from workers.approvals import Unanswerable
from workers.hooks.of_tools import PATCH
from workers.session import now_ms
from workers.tools import patch, tool_output
from workers.tools.patch_journal import Intent
from workers.tools.patch_run import apply_patch
from workers.tools.tool import Call, ToolRefused, TurnCancelled, TurnScope, arguments_of
from workers.tools.workspace import Workspace

__all__ = ["ApplyPatch"]

TOKEN_BYTES = 8
"""Of the name of a patch: nobody shall have files of that name, nor guess it."""
GRAMMAR = """start: begin_patch hunk+ end_patch
begin_patch: "*** Begin Patch" LF
end_patch: "*** End Patch" LF?

hunk: add_hunk | delete_hunk | update_hunk
add_hunk: "*** Add File: " filename LF add_line+
delete_hunk: "*** Delete File: " filename LF
update_hunk: "*** Update File: " filename LF change_move? change?

filename: /(.+)/
add_line: "+" /(.*)/ LF -> line

change_move: "*** Move to: " filename LF
change: (change_context | change_line)+ eof_line?
change_context: ("@@" | "@@ " /(.+)/) LF
change_line: ("+" | "-" | " ") /(.*)/ LF
eof_line: "*** End of File" LF

%import common.LF
"""


class PatchArguments(msgspec.Struct):
    input: str


class ApplyPatch:
    """Freeform for models of the Responses API, a function with one text for the others."""

    name = "apply_patch"

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def definition(self) -> Mapping[str, Any]:
        return {
            "type": "custom",
            "name": self.name,
            "description": "Edits files. The input is a patch in the format of the grammar, not JSON.",
            "format": {"type": "grammar", "syntax": "lark", "definition": GRAMMAR},
        }

    async def call(self, scope: TurnScope, call: Call) -> str:
        text = call.arguments if call.custom else arguments_of(call, PatchArguments).input
        return await self.apply(scope, call.id, text, scope.session.settings.cwd)

    async def apply(self, scope: TurnScope, call_id: str, text: str, cwd: str) -> str:
        """Verify, ask where the policy wants that, and write; `cwd` is what the patch's paths are meant from.

        Raises:
            ToolRefused, TurnCancelled
        """
        session = scope.session
        try:
            verified = patch.verify(patch.parse(text), cwd)
        except patch.PatchError as error:
            raise ToolRefused(patch.failure(error)) from None
        item = FileChangeItem(id=call_id, changes=patch.wire_changes(verified), status="inProgress")
        paths = patch.touched(verified)
        confined = not isinstance(session.settings.sandbox, DangerFullAccess | ExternalSandbox)
        allowed = not confined or self._writable(scope, paths)
        if not allowed and session.settings.approval_policy == "never":
            read_only = isinstance(session.settings.sandbox, ReadOnly)
            where = "is blocked by read-only sandbox" if read_only else "outside of the project"
            raise ToolRefused(f"patch rejected: writing {where}; rejected by user approval settings")
        asked = not allowed or session.settings.approval_policy == "untrusted"
        session.item_started(scope.turn_id, item)
        if asked and not scope.approvals.granted.issuperset(paths):
            await self._ask(scope, item, paths, text)
        began = time.monotonic()
        output, code = await self._apply(scope, item, text, cwd, sandboxed=confined and allowed)
        item.status = "completed" if code == 0 else "failed"
        session.item_completed(scope.turn_id, item)
        if code == 0:
            scope.diff.record(verified)
            diff = scope.diff.render()
            session.notify(
                "turn/diff/updated", TurnDiffUpdated(thread_id=session.id, turn_id=scope.turn_id, diff=diff)
            )
        return tool_output.patch_result(output, exit_code=code, wall_seconds=time.monotonic() - began)

    def _pins(self, scope: TurnScope) -> tuple[view.Pin, ...]:
        confinement = scope.confinement()
        return self._workspace.pins(scope.turn_id, confinement.policy, confinement.workspace, os.environ)

    def _writable(self, scope: TurnScope, paths: list[str]) -> bool:
        confinement = scope.confinement()
        try:
            seen = view.resolve(
                confinement.policy,
                confinement.workspace,
                os.environ,
                pins=self._pins(scope),
                own=scope.session.own,
            )
        except SandboxError:
            return False
        # A link inside may lead outside: both the name and what it comes to must be writable.
        named = (os.path.join(os.path.realpath(os.path.dirname(p)), os.path.basename(p)) for p in paths)
        return all(view.writable(seen, path) for path in (*named, *map(os.path.realpath, paths)))

    async def _ask(self, scope: TurnScope, item: FileChangeItem, paths: list[str], text: str) -> None:
        session, approvals = scope.session, scope.approvals
        said = await scope.hooks.permission(PATCH, {"command": text.rstrip("\n")}, item.id)
        if said.block is not None:
            item.status = "declined"
            session.item_completed(scope.turn_id, item)
            raise ToolRefused(said.block)
        if said.allowed:
            return
        approvals.waiting()
        params = FileChangeApprovalParams(
            thread_id=session.id, turn_id=scope.turn_id, item_id=item.id, started_at_ms=now_ms()
        )
        try:
            answer = await approvals.ask(
                "item/fileChange/requestApproval", params, FileChangeApprovalResponse
            )
        except Unanswerable:
            approvals.resume()
            item.status = "declined"
            session.item_completed(scope.turn_id, item)
            raise ToolRefused(tool_output.APPROVAL_FAILED) from None
        approvals.resume()
        if answer.decision == "cancel":
            # No item/completed: the turn is over, as with the peer.
            raise TurnCancelled
        if answer.decision == "decline":
            item.status = "declined"
            session.item_completed(scope.turn_id, item)
            raise ToolRefused(tool_output.PATCH_DECLINED)
        if answer.decision == "acceptForSession":
            approvals.granted.update(paths)

    async def _apply(
        self, scope: TurnScope, item: FileChangeItem, text: str, cwd: str, *, sandboxed: bool
    ) -> tuple[str, int]:
        """Run the patch program; its output and exit code."""
        confinement = scope.confinement()
        try:
            pins = self._pins(scope) if sandboxed else ()
        except SandboxError as error:
            return str(error), 1
        intent = Intent(
            token=os.urandom(TOKEN_BYTES).hex(),
            cwd=cwd,
            workspace=confinement.workspace,
            policy=confinement.policy,
            pins=pins,
            sandboxed=sandboxed,
        )
        ids = Ids(thread=scope.session.id, turn=scope.turn_id, item=item.id)
        return await apply_patch(scope.session, intent, text, ids)
