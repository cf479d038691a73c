"""What a worker may ask the front (frame CALL), and what comes back (frame RETURN); what the front asks the catalog."""

from __future__ import annotations

import msgspec

from protocol.base import Params, Wire

__all__ = [
    "OFFERED_MODELS",
    "Authorization",
    "AuthorizeCall",
    "McpTokenAnswer",
    "McpTokenCall",
    "Naming",
    "OfferedCall",
    "OfferedModels",
    "OnlyLook",
    "StreamEnded",
    "Throttled",
    "UnusedSource",
]

OFFERED_MODELS = "models/offered"
"""The name of the front's question; no client can ask it."""


class AuthorizeCall(msgspec.Struct, kw_only=True, tag="authorize"):
    """The credential headers for one request to a provider, named by its id in the configuration.

    `stream`: the worker's own number for the stream that it wants to open; the answer comes when it may. 0: it only
    wants to know. `rejected`: the mark of the authorization that the provider did not take (401).
    """

    provider: str
    stream: int = 0
    rejected: str | None = None


class StreamEnded(msgspec.Struct, kw_only=True, tag="ended"):
    """A stream is over, or not wanted any more. Gets no answer."""

    provider: str
    stream: int


class Throttled(msgspec.Struct, kw_only=True, tag="throttled"):
    """The provider wants no new streams for `wait_s`. Gets no answer."""

    provider: str
    wait_s: float


class McpTokenCall(msgspec.Struct, kw_only=True, tag="mcp token"):
    """An access token for the MCP server of this name at this address, if somebody has logged in to it.

    `refused`: the mark of a token that the server takes no more, which is then renewed if it is still the one there is.
    """

    name: str
    url: str
    refused: str | None = None


class McpTokenAnswer(msgspec.Struct, kw_only=True):
    """`mark` names the token without telling it."""

    token: str | None = None
    mark: str = ""

    def __repr__(self) -> str:
        return f"McpTokenAnswer({'a token' if self.token else 'none'})"


class Authorization(msgspec.Struct, kw_only=True):
    """`problem`: why there are no credentials, with what to do about it.

    `mark` names a ChatGPT login's access token without telling it. `metered`: a stream has to be asked for, and its
    end to be told.
    """

    headers: dict[str, str] = {}
    chatgpt_login: bool = False
    mark: str | None = None
    metered: bool = False
    problem: str | None = None

    def __repr__(self) -> str:
        return f"Authorization(headers of {sorted(self.headers)})"


class OfferedCall(Params, kw_only=True):
    """Which models has this provider? `headers` are those of the request to it."""

    provider: str
    headers: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"OfferedCall({self.provider!r}, headers of {sorted(self.headers)})"


class OfferedModels(Wire, kw_only=True):
    """`problem`: why it could not say."""

    ids: list[str] = []
    problem: str | None = None


class OnlyLook(msgspec.Struct, kw_only=True):
    """The front's part of `thread/delete`: first it asks what is in the way, while the thread is still loaded."""

    only_look: bool = False


class Naming(msgspec.Struct, kw_only=True):
    """The front's part of `thread/name/set`: a loaded thread has a name before it has a file."""

    loaded: bool = False


class UnusedSource(msgspec.Struct, kw_only=True):
    """The front's part of `thread/fork` where the source is loaded and has no rollout: how that thread was started."""

    started: msgspec.Raw = msgspec.Raw(b"null")
