"""What can be wrong with a configuration.

    ConfigError
    ├── HomeError                  the home directory is missing, no directory, or cannot be made
    ├── MalformedConfigError       a file is no TOML, or cannot be read
    ├── InvalidOverrideError       a `-c key=value` that cannot be taken apart
    ├── InvalidSettingError        a key we understand holds something else than it should
    ├── ProfileNotFoundError       `--profile NAME` without such a profile
    ├── ProviderNotFoundError      `model_provider` names none of the providers
    ├── PermissionsNotFoundError   a named permission profile that is not there
    ├── ModelMissingError          `model` is empty
    ├── InvalidCursorError         a page of a list that does not exist
    └── ConfigWriteError           a write that is refused; the file is as it was

`str(error)` is what a client reads (after `failed to load configuration: `) and what the command line prints.
"""

from __future__ import annotations

from protocol.configuration import ConfigWriteErrorCode

__all__ = [
    "ConfigError",
    "ConfigWriteError",
    "HomeError",
    "InvalidCursorError",
    "InvalidOverrideError",
    "InvalidSettingError",
    "MalformedConfigError",
    "ModelMissingError",
    "PermissionsNotFoundError",
    "ProfileNotFoundError",
    "ProviderNotFoundError",
]


class ConfigError(Exception):
    """The base of all errors of this package."""


class HomeError(ConfigError):
    pass


class MalformedConfigError(ConfigError):
    """`line` and `column` count from 1; both are 0 when the file could not be read at all."""

    def __init__(self, file: str, line: int, column: int, reason: str) -> None:
        place = f"{file}:{line}:{column}" if line else file
        super().__init__(f"{place}: {reason}")
        self.file = file
        self.line = line
        self.column = column
        self.reason = reason


class InvalidOverrideError(ConfigError):
    pass


class InvalidSettingError(ConfigError):
    """A value of the wrong type or outside its range.

    `key` is the dotted key, `reason` says what was found and what was expected. `file`, `line` and `column`
    (from 1) are set when the value came out of a file; a value out of a flag or a request has only its key,
    in the two-line text that Codex 0.169 answers there.
    """

    def __init__(
        self, key: str, reason: str, *, file: str | None = None, line: int = 0, column: int = 0
    ) -> None:
        if file is None:
            text = f"{reason}\nin `{key}`\n"
        else:
            place = f"{file}:{line}:{column}" if line else file
            text = f"{place}: {reason} (in `{key}`)"
        super().__init__(text)
        self.key = key
        self.reason = reason
        self.file = file
        self.line = line
        self.column = column


class ProfileNotFoundError(ConfigError):
    pass


class ProviderNotFoundError(ConfigError):
    def __init__(self, name: str) -> None:
        super().__init__(f"Model provider `{name}` not found")
        self.name = name


class PermissionsNotFoundError(ConfigError):
    def __init__(self, name: str) -> None:
        known = f"refers to unknown built-in profile `{name}`"
        super().__init__(
            f"default_permissions {known if name.startswith(':') else 'requires a `[permissions]` table'}"
        )


class ModelMissingError(ConfigError):
    def __init__(self) -> None:
        super().__init__("no model: `model` is empty; name one, or leave it out for the configured one")


class InvalidCursorError(ConfigError):
    pass


class ConfigWriteError(ConfigError):
    """`code` is what clients tell the refusals apart by."""

    def __init__(self, text: str, code: ConfigWriteErrorCode = "configValidationError") -> None:
        super().__init__(text)
        self.code: ConfigWriteErrorCode = code
