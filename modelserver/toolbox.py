"""The tools that a request offers, and the calls that actions become with them.

Clients name the same tool differently: the shell is `exec_command`, `shell_command` or `shell`, patches go
to a custom tool or to a function, a tool of an MCP server is a function `mcp__SERVER__TOOL` or sits in a
namespace. A script says what it wants; the toolbox finds how this client spells it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from modelserver.actions import Patch, Plan, Run, Search, Stdin, Tool, View
from modelserver.errors import ToolMissingError

__all__ = ["Call", "CallAction", "Offer", "Toolbox"]

Kind: TypeAlias = Literal["function", "custom", "search"]
CallAction: TypeAlias = Run | Patch | Plan | View | Stdin | Tool | Search

_KINDS: tuple[Kind, ...] = ("function", "custom")
_SHELLS = ("exec_command", "shell_command", "shell")
_YIELD_MS = 300
"""How long the start of an interactive command is watched: long enough for a prompt to appear."""
_REASON = "The script asks to run this outside the sandbox."


class Offer(msgspec.Struct, frozen=True):
    """A tool of a request. `properties` are the names of a function's parameters."""

    name: str
    kind: Kind = "function"
    namespace: str | None = None
    properties: frozenset[str] = frozenset()


class Call(msgspec.Struct, frozen=True):
    """A tool call to send: `payload` holds a function's arguments, a custom tool's input or what is searched for."""

    name: str
    payload: str
    kind: Kind = "function"
    namespace: str | None = None


class Toolbox:
    def __init__(self, offers: Iterable[Offer] = ()) -> None:
        self._offers: dict[str, Offer] = {}
        for offer in offers:
            self._offers.setdefault(offer.name, offer)
            if offer.namespace is not None:
                for join in ("/", "__"):
                    self._offers.setdefault(f"{offer.namespace}{join}{offer.name}", offer)

    @classmethod
    def of(cls, tools: Any) -> Toolbox:
        """Read the tools of a request, in the form of either API. What is not a tool is passed over."""
        return cls(_offers(tools, None))

    def call(self, action: CallAction, session: int | None) -> Call:
        """Spell out the call that plays an action; `session` is the running command that `!stdin last` means.

        Raises ToolMissingError when the request offers nothing to call.
        """
        match action:
            case Run():
                return self._run(action)
            case Patch():
                return self._patch(action)
            case Plan():
                entries = [{"step": entry.step, "status": entry.status} for entry in action.entries]
                return self._function("update_plan", {"plan": entries})
            case View():
                return self._function("view_image", {"path": action.path})
            case Stdin():
                number = session if action.session is None else action.session
                if number is None:
                    raise ToolMissingError("no tool output of this turn names a running session")
                return self._function("write_stdin", {"session_id": number, "chars": action.text})
            case Search():
                offer = self._offers.get("tool_search")
                if offer is None or offer.kind != "search":
                    raise ToolMissingError("the request offers no `tool_search`")
                return Call(offer.name, action.query, "search")
            case Tool():
                offer = self._offers.get(action.name)
                if offer is None:
                    # A call of an unknown tool is a case worth trying, so it is sent.
                    return Call(action.name, action.arguments)
                return Call(offer.name, action.arguments, offer.kind, offer.namespace)

    def _function(self, name: str, arguments: Mapping[str, Any]) -> Call:
        offer = self._offers.get(name)
        if offer is None or offer.kind != "function":
            raise ToolMissingError(f"the request offers no function `{name}`")
        return Call(offer.name, _json(arguments), namespace=offer.namespace)

    def _run(self, action: Run) -> Call:
        if action.interactive:
            arguments = {"cmd": action.command, "tty": True, "yield_time_ms": _YIELD_MS}
            return self._function("exec_command", arguments)
        for name in _SHELLS:
            offer = self._offers.get(name)
            if offer is None or offer.kind != "function":
                continue
            match name:
                case "exec_command":
                    arguments = {"cmd": action.command}
                case "shell_command":
                    arguments = {"command": action.command}
                case _:
                    arguments = {"command": ["bash", "-lc", action.command]}
            if action.escalated and "with_escalated_permissions" in offer.properties:
                arguments |= {"with_escalated_permissions": True, "justification": _REASON}
            elif action.escalated:
                arguments |= {"sandbox_permissions": "require_escalated", "justification": _REASON}
            return Call(offer.name, _json(arguments), namespace=offer.namespace)
        raise ToolMissingError(f"the request offers no shell tool (one of {', '.join(_SHELLS)})")

    def _patch(self, action: Patch) -> Call:
        offer = self._offers.get("apply_patch")
        if offer is None:
            # Clients without the tool take patches as a command of that name, and look for this very form.
            return self._run(Run(f"apply_patch <<'EOF'\n{action.text}EOF"))
        if offer.kind == "custom":
            return Call(offer.name, action.text, "custom", offer.namespace)
        key = "patch" if "patch" in offer.properties and "input" not in offer.properties else "input"
        return Call(offer.name, _json({key: action.text}), namespace=offer.namespace)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _offers(tools: Any, namespace: str | None) -> Iterable[Offer]:
    for tool in tools if isinstance(tools, list) else ():
        if not isinstance(tool, dict):
            continue
        kind = next((known for known in _KINDS if known == tool.get("type")), None)
        if kind is not None:
            inner = tool.get(kind)
            body = inner if isinstance(inner, dict) else tool  # chat nests, the Responses API does not
            name = body.get("name")
            if isinstance(name, str):
                yield Offer(name, kind, namespace, _properties(body.get("parameters")))
        elif tool.get("type") == "tool_search":
            yield Offer("tool_search", "search")
        elif tool.get("type") == "namespace" and namespace is None:
            yield from _offers(tool.get("tools"), str(tool.get("name")))


def _properties(schema: Any) -> frozenset[str]:
    properties = schema.get("properties") if isinstance(schema, dict) else None
    return frozenset(properties) if isinstance(properties, dict) else frozenset()
