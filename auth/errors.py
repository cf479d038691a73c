"""What can go wrong with credentials. No text ever holds a secret.

AuthError
├── StorageError                   a record cannot be read, understood, written or deleted
│   └── KeyringUnavailableError    the system's keyring is not there, hangs, or does not keep what it is given
├── UnsupportedAuthModeError       the record holds a kind of login that is not known here
├── MissingVariableError           the environment variable of a provider's key is not set
├── InvalidHeaderError             a header of a provider has a name or value that cannot be sent
├── LoginError                     a login came to nothing
│   └── DeviceCodesDisabledError   the issuer knows no device codes
├── RefreshError                   new tokens could not be had this time
│   └── RefreshRefusedError        and never will be: a new login is needed
└── BackendError                   the account's backend did not answer, or not as it should
"""

from __future__ import annotations

__all__ = [
    "AuthError",
    "BackendError",
    "DeviceCodesDisabledError",
    "InvalidHeaderError",
    "KeyringUnavailableError",
    "LoginError",
    "MissingVariableError",
    "RefreshError",
    "RefreshRefusedError",
    "StorageError",
    "UnsupportedAuthModeError",
]


class AuthError(Exception):
    """The base of all errors of this package."""


class StorageError(AuthError):
    pass


class KeyringUnavailableError(StorageError):
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


class LoginError(AuthError):
    """The text is what clients are shown."""


class DeviceCodesDisabledError(LoginError):
    pass


class RefreshError(AuthError):
    pass


class RefreshRefusedError(RefreshError):
    pass


class BackendError(AuthError):
    """`status`: the HTTP status, if there was an answer."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
