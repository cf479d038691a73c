"""What a hook answered: its exit code and its output, read for the event that it ran at.

Exit code 2 blocks, with the reason on stderr. Otherwise stdout may be JSON with what the event knows, and nothing else:
a field that is not known could be one that forbids something.
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import msgspec

from protocol.hooks import HookEntryKind, HookEventName, HookOutputEntry, HookRunStatus
from workers.hooks.program import Ran

__all__ = ["Outcome", "read_outcome"]

BLOCKS = 2
"""The exit code."""

Named = Literal[
    "PreToolUse",
    "PermissionRequest",
    "PostToolUse",
    "PreCompact",
    "PostCompact",
    "SessionStart",
    "SessionEnd",
    "UserPromptSubmit",
    "SubagentStart",
    "SubagentStop",
    "Stop",
    "Interrupt",
    "PreModelRequest",
    "PostModelRequest",
]


class _Strict(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    pass


class _Answer(_Strict, kw_only=True):
    """What every event knows."""

    goes_on: bool = msgspec.field(default=True, name="continue")
    stop_reason: str | None = None
    suppress_output: bool = False
    system_message: str | None = None


class _Context(_Strict, kw_only=True):
    hook_event_name: Named
    additional_context: str | None = None


class _WithContext(_Answer, kw_only=True):
    hook_specific_output: _Context | None = None


class _Blocking(_Answer, kw_only=True):
    decision: Literal["block"] | None = None
    reason: str | None = None


class _Prompt(_Blocking, kw_only=True):
    hook_specific_output: _Context | None = None


class _After(_Context, kw_only=True):
    updated_mcp_tool_output: Any = msgspec.field(default=None, name="updatedMCPToolOutput")


class _PostToolUse(_Blocking, kw_only=True):
    hook_specific_output: _After | None = None


class _Before(_Context, kw_only=True):
    permission_decision: Literal["allow", "deny", "ask"] | None = None
    permission_decision_reason: str | None = None
    updated_input: Any = None


class _PreToolUse(_Answer, kw_only=True):
    decision: Literal["approve", "block"] | None = None
    reason: str | None = None
    hook_specific_output: _Before | None = None


class _Decision(_Strict, kw_only=True):
    behavior: Literal["allow", "deny"]
    interrupt: bool = False
    message: str | None = None
    updated_input: Any = None
    updated_permissions: Any = None


class _Permission(_Strict, kw_only=True):
    hook_event_name: Named
    decision: _Decision | None = None


class _PermissionRequest(_Answer, kw_only=True):
    hook_specific_output: _Permission | None = None


class Outcome(msgspec.Struct, kw_only=True):
    """`block`: the reason. `stop`: what is said of a stop, may be empty; None: none. `allowed`: an approval is given."""

    status: HookRunStatus = "completed"
    entries: list[HookOutputEntry] = []
    block: str | None = None
    stop: str | None = None
    context: str | None = None
    updated_input: Any = None
    allowed: bool = False

    def say(self, kind: HookEntryKind, text: str | None) -> None:
        if text is not None and text.strip():
            self.entries = [*self.entries, HookOutputEntry(kind=kind, text=text)]

    def fail(self, text: str) -> None:
        self.status = "failed"
        self.say("error", text)

    def blocked(self, reason: str) -> None:
        self.status, self.block = "blocked", reason
        self.say("feedback", reason)

    def stopped(self, reason: str | None) -> None:
        self.status, self.stop = "stopped", reason or ""
        self.say("stop", reason)

    def tell(self, context: str | None) -> None:
        if context is not None and context.strip():
            self.context = context
            self.say("context", context)


class _Event(msgspec.Struct, frozen=True):
    """`called`: the JSON in errors. `lack`: what an exit code 2 without a reason has not written; empty: it blocks not.

    `plain`: what text on stdout is that is no JSON. `plain` "unread": stdout is nothing at all.
    """

    name: str
    called: str
    answer: type[_Answer]
    lack: str = ""
    plain: Literal["context", "ignored", "refused", "unread"] = "ignored"


_CONTINUATION = "a continuation prompt"
_EVENTS: dict[HookEventName, _Event] = {
    "preToolUse": _Event("PreToolUse", "pre-tool-use", _PreToolUse, "a blocking reason"),
    "postToolUse": _Event("PostToolUse", "post-tool-use", _PostToolUse, "feedback"),
    "permissionRequest": _Event(
        "PermissionRequest", "permission-request", _PermissionRequest, "a denial reason"
    ),
    "sessionStart": _Event("SessionStart", "session start", _WithContext, plain="context"),
    "userPromptSubmit": _Event(
        "UserPromptSubmit", "user prompt submit", _Prompt, "a blocking reason", plain="context"
    ),
    "stop": _Event("Stop", "stop hook", _Blocking, _CONTINUATION, plain="refused"),
    "preCompact": _Event("PreCompact", "PreCompact hook", _Answer),
    "postCompact": _Event("PostCompact", "PostCompact hook", _Answer),
    "interrupt": _Event("Interrupt", "interrupt hook", _Answer, plain="refused"),
    "sessionEnd": _Event("SessionEnd", "SessionEnd hook", _Answer),
    "preModelRequest": _Event("PreModelRequest", "", _Answer, plain="unread"),
    "postModelRequest": _Event("PostModelRequest", "", _Answer, plain="unread"),
}
_LOUD = ("preCompact", "postCompact")
"""A failure is told with the hook's own words."""
A = TypeVar("A", bound=_Answer)


def read_outcome(event: HookEventName, ran: Ran) -> Outcome:
    row, outcome = _EVENTS[event], Outcome()
    said, complaint = ran.stdout.strip(), ran.stderr.strip()
    if ran.fault:
        outcome.fail(ran.fault)
    elif ran.exit_code is None:
        outcome.fail("hook exited without a status code")
    elif ran.exit_code == BLOCKS and row.lack:
        if complaint:
            outcome.blocked(complaint)
        else:
            outcome.fail(f"{row.name} hook exited with code 2 but did not write {row.lack} to stderr")
    elif ran.exit_code != 0 and row.plain == "unread":
        outcome.status = "failed"
        outcome.say("error", complaint)
    elif ran.exit_code != 0:
        outcome.fail((complaint if event in _LOUD else "") or f"hook exited with code {ran.exit_code}")
    elif row.plain == "unread":
        return outcome
    elif said.startswith(("{", "[")):
        try:
            answer = msgspec.json.decode(said, type=row.answer)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            outcome.fail(f"hook returned invalid {row.called} JSON output")
        else:
            outcome.say("warning", answer.system_message)
            _take(row, answer, outcome)
    elif said and row.plain == "context":
        outcome.tell(said)
    elif said and row.plain == "refused":
        outcome.fail(f"hook returned invalid {row.called} JSON output")
    return outcome


def _take(row: _Event, answer: _Answer, outcome: Outcome) -> None:
    match answer:
        case _PreToolUse():
            _before(answer, outcome)
        case _PermissionRequest():
            _permission(answer, outcome)
        case _PostToolUse():
            _after(answer, outcome)
        case _Blocking():
            specific = answer.hook_specific_output if isinstance(answer, _Prompt) else None
            outcome.tell(specific.additional_context if specific else None)
            if not answer.goes_on:
                outcome.stopped(answer.stop_reason)
            elif answer.decision == "block":
                _block(row, answer.reason, outcome)
        case _:
            if isinstance(answer, _WithContext) and answer.hook_specific_output:
                outcome.tell(answer.hook_specific_output.additional_context)
            if not answer.goes_on:
                outcome.stopped(answer.stop_reason)


def _block(row: _Event, reason: str | None, outcome: Outcome) -> None:
    if reason is None or not reason.strip():
        outcome.fail(f"{row.name} hook returned decision:block without a non-empty reason")
    else:
        outcome.blocked(reason.strip())


def _before(answer: _PreToolUse, outcome: Outcome) -> None:
    """What is not understood to the end fails, and the call goes on: as with the peer."""
    specific = answer.hook_specific_output
    verdict = specific.permission_decision if specific else None
    reason = (specific.permission_decision_reason or "").strip() if specific else ""
    updated = specific.updated_input if specific else None
    fault = _unsupported(answer)
    if not fault and specific:
        if verdict == "ask" or (verdict == "allow" and updated is None):
            fault = f"unsupported permissionDecision:{verdict}"
        elif verdict == "deny" and not reason:
            fault = "permissionDecision:deny without a non-empty permissionDecisionReason"
        elif verdict != "allow" and updated is not None:
            fault = "updatedInput without permissionDecision:allow"
        elif verdict is None and reason:
            fault = "permissionDecisionReason without permissionDecision"
    if not fault and verdict is None:
        if answer.decision == "approve":
            fault = "unsupported decision:approve"
        elif answer.decision == "block" and not (answer.reason or "").strip():
            fault = "decision:block without a non-empty reason"
        elif answer.decision is None and answer.reason is not None:
            fault = "reason without decision"
    if fault:
        outcome.fail(f"PreToolUse hook returned {fault}")
        return
    outcome.tell(specific.additional_context if specific else None)
    outcome.updated_input = updated
    if verdict == "deny":
        outcome.blocked(reason)
    elif verdict is None and answer.decision == "block":
        outcome.blocked((answer.reason or "").strip())


def _unsupported(answer: _Answer) -> str:
    if not answer.goes_on:
        return "unsupported continue:false"
    if answer.stop_reason is not None:
        return "unsupported stopReason"
    return "unsupported suppressOutput" if answer.suppress_output else ""


def _permission(answer: _PermissionRequest, outcome: Outcome) -> None:
    decision = answer.hook_specific_output.decision if answer.hook_specific_output else None
    fault = _unsupported(answer)
    if not fault and decision is not None:
        if decision.updated_input is not None:
            fault = "unsupported updatedInput"
        elif decision.updated_permissions is not None:
            fault = "unsupported updatedPermissions"
        elif decision.interrupt:
            fault = "unsupported interrupt:true"
    if fault:
        outcome.fail(f"PermissionRequest hook returned {fault}")
    elif decision is not None and decision.behavior == "allow":
        outcome.allowed = True
    elif decision is not None:
        outcome.blocked((decision.message or "").strip() or "PermissionRequest hook denied approval")


def _after(answer: _PostToolUse, outcome: Outcome) -> None:
    specific = answer.hook_specific_output
    fault = ""
    if answer.suppress_output:
        fault = "unsupported suppressOutput"
    elif specific and specific.updated_mcp_tool_output is not None:
        fault = "unsupported updatedMCPToolOutput"
    elif answer.goes_on and answer.decision is None and answer.reason is not None:
        fault = "reason without decision"
    elif answer.goes_on and answer.decision == "block" and not (answer.reason or "").strip():
        fault = "decision:block without a non-empty reason"
    if fault:
        outcome.fail(f"PostToolUse hook returned {fault}")
        return
    outcome.tell(specific.additional_context if specific else None)
    reason = (answer.reason or "").strip()
    if not answer.goes_on:
        # The model goes on all the same, as with the peer: it gets the reason in place of the output.
        stop = answer.stop_reason or "PostToolUse hook stopped execution"
        outcome.stopped(stop)
        outcome.block = reason or stop
    elif answer.decision == "block":
        outcome.blocked(reason)
