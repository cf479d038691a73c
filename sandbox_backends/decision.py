"""Whether a command runs, is asked about, or is refused, before anything is planned. Pure functions over plain data.

The order: prefix rules (forbidden before prompt before allow, each segment of a script judged alone), then the commands
that force a removal, then what the approval policy says of the rest.

| policy | forces removal | other | asks to leave the sandbox |
|---|---|---|---|
| untrusted | ask | ask | ask |
| on-request, granular | ask | run | ask (run, where there is no sandbox to leave) |
| never | refuse | run | refuse |

Granular approval turns an ask of a kind it does not want into a refusal.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec

from protocol.policy import ApprovalPolicy, DangerFullAccess, ExternalSandbox, GranularApproval, SandboxPolicy
from sandbox_backends.judgement import dangerous, segments
from sandbox_backends.plan import Escalation

__all__ = [
    "NEVER_ESCALATES",
    "Ask",
    "Decision",
    "Forbid",
    "Rule",
    "Run",
    "approval_key",
    "decide",
    "escalation",
    "proposed_amendment",
]

NEVER_ESCALATES = (
    "approval policy is Never; reject command — you cannot ask for escalated permissions "
    "if the approval policy is Never"
)
NEVER_ASKS = "approval required by policy, but AskForApproval is set to Never"
NO_RULE_PROMPTS = "approval required by policy rule, but AskForApproval::Granular.rules is false"
NO_SANDBOX_PROMPTS = "approval required by policy, but AskForApproval::Granular.sandbox_approval is false"
RETRY_REASON = "command failed; retry without sandbox?"


class Rule(msgspec.Struct, frozen=True):
    """A prefix rule. It matches a command whose first words are `prefix`."""

    prefix: tuple[str, ...]
    decision: Literal["allow", "prompt", "forbidden"] = "allow"
    justification: str | None = None
    source: str = ""
    """Where it stands, as `default.rules:3`; empty for one accepted in this thread."""

    def matches(self, command: Sequence[str]) -> bool:
        return bool(self.prefix) and tuple(command[: len(self.prefix)]) == self.prefix


class Run(msgspec.Struct, frozen=True, tag=True):
    """Start it, in the sandbox unless a rule allowed every part of it or the policy has none."""

    sandboxed: bool = True


class Ask(msgspec.Struct, frozen=True, tag=True):
    """Ask the user. `sandboxed` is how it runs when accepted; `amendment` the rule to offer, if one would help."""

    reason: str | None = None
    sandboxed: bool = True
    amendment: tuple[str, ...] | None = None


class Forbid(msgspec.Struct, frozen=True, tag=True):
    """Refuse; `reason` is for the model."""

    reason: str


Decision = Run | Ask | Forbid
_Verdict = Literal["allow", "prompt", "forbidden"]


def _unrestricted(sandbox: SandboxPolicy) -> bool:
    return isinstance(sandbox, DangerFullAccess | ExternalSandbox)


def _by_itself(
    policy: ApprovalPolicy, sandbox: SandboxPolicy, command: Sequence[str], escalated: bool
) -> _Verdict:
    """What the policy says of one command that no rule speaks of."""
    if policy == "untrusted":
        # Also what only reads: a file that is read may be the secret.
        return "prompt"
    if dangerous(command):
        return "forbidden" if policy == "never" else "prompt"
    if escalated and policy == "never":
        # Also where there is no sandbox to leave: the model was told not to ask.
        return "forbidden"
    if escalated and not _unrestricted(sandbox):
        return "prompt"
    return "allow"


def _rule_for(rules: Iterable[Rule], command: Sequence[str]) -> Rule | None:
    """The strictest rule that matches, the longest of those."""
    strictness = ("allow", "prompt", "forbidden")
    return max(
        (rule for rule in rules if rule.matches(command)),
        key=lambda rule: (strictness.index(rule.decision), len(rule.prefix)),
        default=None,
    )


def decide(
    policy: ApprovalPolicy,
    sandbox: SandboxPolicy,
    argv: Sequence[str],
    *,
    escalated: bool = False,
    rules: Sequence[Rule] = (),
    reason: str | None = None,
) -> Decision:
    """Judge `argv` under an approval policy.

    `escalated`: the model asked to run without the sandbox, `reason` is why it says so. A session's earlier approvals
    (`approval_key`) are the caller's to look up first.
    """
    parts = segments(argv)
    matched = [_rule_for(rules, part) for part in parts]
    for rule in matched:
        if rule is not None and rule.decision == "forbidden":
            because = (
                rule.justification or f"policy forbids commands starting with `{shlex.join(rule.prefix)}`"
            )
            said = f" (rule at {rule.source})" if rule.source else ""
            return Forbid(f"`{shlex.join(argv)}` rejected: {because}{said}")
    prompted = max(
        (rule for rule in matched if rule is not None and rule.decision == "prompt"),
        key=lambda rule: len(rule.prefix),
        default=None,
    )
    if prompted is not None:
        if policy == "never":
            return Forbid(NEVER_ASKS)
        if isinstance(policy, GranularApproval) and not policy.granular.rules:
            return Forbid(NO_RULE_PROMPTS)
        because = f": {prompted.justification}" if prompted.justification else " by policy"
        return Ask(f"`{shlex.join(argv)}` requires approval{because}", sandboxed=not escalated)
    if all(rule is not None for rule in matched):
        return Run(sandboxed=False)
    verdicts = {
        _by_itself(policy, sandbox, part, escalated)
        for part, rule in zip(parts, matched, strict=True)
        if rule is None
    }
    if dangerous(argv):
        # Hidden in a script that cannot be split.
        verdicts.add("forbidden" if policy == "never" else "prompt")
    if "forbidden" in verdicts:
        if escalated:
            return Forbid(NEVER_ESCALATES)
        return Forbid(f"`{shlex.join(argv)}` rejected: blocked by policy")
    if "prompt" in verdicts:
        if isinstance(policy, GranularApproval) and not policy.granular.sandbox_approval:
            return Forbid(NO_SANDBOX_PROMPTS)
        amendment = proposed_amendment(argv, policy=policy, sandbox=sandbox, escalated=escalated, rules=rules)
        return Ask(reason, sandboxed=not escalated, amendment=amendment)
    return Run(sandboxed=not _unrestricted(sandbox))


def proposed_amendment(
    argv: Sequence[str],
    *,
    policy: ApprovalPolicy = "on-request",
    sandbox: SandboxPolicy | None = None,
    escalated: bool = True,
    rules: Sequence[Rule] = (),
) -> tuple[str, ...] | None:
    """The prefix rule to offer with an ask: the first segment that needs one.

    `touch /tmp/x && echo y` gives `("touch", "/tmp/x")`, and once that is allowed `("echo", "y")`; a script that
    cannot be split gives the whole argv. None if a rule prompts (an amendment would not help) or nothing needs one.
    """
    parts = segments(argv)
    matched = [_rule_for(rules, part) for part in parts]
    if any(rule is not None and rule.decision != "allow" for rule in matched):
        return None
    for part, rule in zip(parts, matched, strict=True):
        if rule is not None:
            continue
        if sandbox is None or _by_itself(policy, sandbox, part, escalated) == "prompt":
            return part
    return None


def approval_key(argv: Sequence[str], cwd: str, permissions: Any = None) -> str:
    """What "accept for this session" is remembered by: canonical JSON of the argv, the cwd and what was granted."""
    key = {"argv": list(argv), "cwd": cwd, "permissions": permissions}
    return msgspec.json.encode(key, order="deterministic").decode()


def escalation(policy: ApprovalPolicy, *, approved: bool, key: str = "") -> Escalation:
    """What happens if the sandbox denies something. `approved`: the user already accepted this very command.

    Under on-request and never the model is told, and may ask by itself.
    """
    granular = isinstance(policy, GranularApproval) and policy.granular.sandbox_approval
    if policy == "untrusted" or granular:
        return Escalation(on_denial="retry" if approved else "ask", approval_key=key, reason=RETRY_REASON)
    return Escalation(on_denial="report", approval_key=key)
