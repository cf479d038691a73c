"""What can go wrong with credentials. No text ever holds a secret.

AuthError
├── StorageError                   `auth.json` cannot be read, understood or written
├── UnsupportedAuthModeError       `auth.json` holds a kind of login that is not known here
├── MissingVariableError           the environment variable of a provider's key is not set
└── InvalidHeaderError             a header of a provider has a name or value that cannot be sent
"""

from __future__ import annotations

__all__ = [
    "AuthError",
    "InvalidHeaderError",
    "MissingVariableError",
    "StorageError",
    "UnsupportedAuthModeError",
]


class AuthError(Exception):
    """The base of all errors of this package."""


class StorageError(AuthError):
    pass


class UnsupportedAuthModeError(AuthError):
    pass


class MissingVariableError(AuthError):
    """`variable` is its name; the text ends with the provider's `env_key_instructions`."""

    def __init__(self, variable: str, instructions: str | None) -> None:
        text = f"Missing environment variable: `{variable}`."
        super().__init__(f"{text} {instructions}" if instructions else text)
        self.variable = variable
        self.instructions = instructions


class InvalidHeaderError(AuthError):
    pass
