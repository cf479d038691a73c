"""What a tool is, and what it finds around it when it is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from protocol.refusal import explain
from workers.hooks.of_turn import TurnHooks
from workers.permissions import Confinement, Permissions

if TYPE_CHECKING:
    from workers.approvals import Approvals
    from workers.session import Session
    from workers.tools.turn_diff import TurnDiff

T = TypeVar("T", bound=msgspec.Struct)

__all__ = [
    "Answer",
    "Call",
    "Output",
    "Refusal",
    "StoppedByHook",
    "Tool",
    "ToolRefused",
    "TurnCancelled",
    "TurnScope",
    "arguments_of",
    "function",
    "function_of",
    "record",
]


class ToolRefused(Exception):
    """The call cannot be carried out; the text is the model's to read."""


class Refusal(str):
    """The answer to a call that was not carried out."""

    __slots__ = ()


class Answer(msgspec.Struct, frozen=True):
    """What the model gets, and what hooks see of it: the output of a command that has ended, an MCP server's result.

    `call_id`, `command`: of the call that began the command, which may be an older one.
    """

    text: str | list[dict[str, Any]]
    response: Any
    call_id: str = ""
    command: str | None = None


Output = str | list[dict[str, Any]] | Answer


class TurnCancelled(Exception):
    """The user cancelled the turn in an approval."""


class StoppedByHook(TurnCancelled):
    """A hook ended the turn; nobody interrupted it."""


class TurnScope:
    """What a tool may use of the turn that it is called in."""

    def __init__(self, session: Session, approvals: Approvals, turn_id: str, diff: TurnDiff) -> None:
        self.session = session
        self.approvals = approvals
        self.turn_id = turn_id
        self.diff = diff
        self.hooks = TurnHooks(session, turn_id)
        self._granted = Permissions()
        self.news: list[str] = []
        """What the model is to be told before it answers again."""

    @property
    def permissions(self) -> Permissions:
        """What was granted beyond the sandbox, for the turn or for the session."""
        return self.approvals.permissions.with_(self._granted)

    def grant(self, permissions: Permissions, *, session: bool) -> None:
        """Remember what the user has granted: for the whole session, or for this turn."""
        if session:
            self.approvals.permissions = self.approvals.permissions.with_(permissions)
        else:
            self._granted = self._granted.with_(permissions)

    def confinement(self, further: Permissions | None = None) -> Confinement:
        """What a command of this turn is planned with; `further`: what was granted for it alone."""
        permissions = self.permissions if further is None else self.permissions.with_(further)
        settings = self.session.settings
        return permissions.confine(settings.sandbox, settings.cwd)


class Call(msgspec.Struct, frozen=True):
    """`arguments`: JSON for a function call, free text for a custom tool.

    `search`: the arguments of a search for tools, which is no tool of its own; None for all others.
    """

    id: str
    name: str
    arguments: str
    custom: bool = False
    namespace: str | None = None
    search: Any = None


class Tool(Protocol):
    """One tool. What the model gets is text, or a list of content parts in Responses form."""

    name: str

    def definition(self) -> Mapping[str, Any]: ...

    async def call(self, scope: TurnScope, call: Call) -> Output:
        """Carry out a call.

        Raises:
            ToolRefused, TurnCancelled
        """


def record(properties: Mapping[str, Any], *, required: Sequence[str] | None = None) -> dict[str, Any]:
    """The JSON schema of an object with these members and no others; None: nothing is said of what is required."""
    schema: dict[str, Any] = {"type": "object", "properties": dict(properties)}
    if required is not None:
        schema["required"] = list(required)
    schema["additionalProperties"] = False
    return schema


def function_of(name: str, description: str, parameters: Any) -> dict[str, Any]:
    """A function as the Responses API is told of it. `parameters`: a JSON schema."""
    return {
        "type": "function",
        "name": name,
        "description": description,
        "strict": False,
        "parameters": parameters,
    }


def function(
    name: str, description: str, properties: Mapping[str, Any], *, required: Sequence[str] | None = None
) -> Mapping[str, Any]:
    """A function of ours: its arguments are a record."""
    return function_of(name, description, record(properties, required=required))


def arguments_of(call: Call, kind: type[T]) -> T:
    """The arguments of a function call; wrong ones are explained to the model."""
    try:
        return msgspec.json.decode(call.arguments, type=kind)
    except msgspec.ValidationError as error:
        reason = explain(error, call.arguments, kind)
        raise ToolRefused(f"failed to parse function arguments: {reason}") from None
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ToolRefused(f"failed to parse function arguments: {error}") from None
