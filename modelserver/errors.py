"""What can go wrong in the scripted model server.

ModelServerError
├── ScriptError          a directive that cannot be read; answered as text, never as an HTTP error
├── ToolMissingError     a directive needs a tool that the request does not offer; answered as text
├── RequestError         a request that is not what the API asks for; answered with its HTTP status
├── ExposedHostError     the server was told to listen beyond this machine
└── StartError           a server started as a child process did not come up
"""

from __future__ import annotations

__all__ = [
    "ExposedHostError",
    "ModelServerError",
    "RequestError",
    "ScriptError",
    "StartError",
    "ToolMissingError",
]


class ModelServerError(Exception):
    """Base of all errors of this package."""


class ScriptError(ModelServerError):
    """A script that cannot be played. `line` counts from 1 in the user's text."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


class ToolMissingError(ModelServerError):
    """The request offers no tool that a directive could use."""


class RequestError(ModelServerError):
    """A refused request: the HTTP status, and the `type` and `code` of the error object in its body."""

    def __init__(self, status: int, message: str, code: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code


class ExposedHostError(ModelServerError):
    """The scripted model has no authentication, so it listens on loopback addresses only."""


class StartError(ModelServerError):
    """The child process ended or stayed silent instead of saying where it listens."""
