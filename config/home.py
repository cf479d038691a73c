"""The home directory: where `config.toml`, `auth.json` and the sessions live."""

from __future__ import annotations

import os
from collections.abc import Mapping

from config.errors import HomeError

__all__ = ["find_home", "home_path"]

HOME_VARIABLES = ("BULKHEAD_HOME", "CODEX_HOME")
"""First one that is set and not empty wins."""

DEFAULT_HOME = ".codex"
# It holds tokens and conversations.
HOME_MODE = 0o700


def home_path(environ: Mapping[str, str]) -> str:
    """Where the home directory is, or would be: nothing is checked or made."""
    named = next((environ[variable] for variable in HOME_VARIABLES if environ.get(variable)), None)
    return os.path.abspath(
        named or os.path.join(environ.get("HOME") or os.path.expanduser("~"), DEFAULT_HOME)
    )


def find_home(environ: Mapping[str, str]) -> str:
    """The absolute path of the home directory, which exists afterwards.

    A directory named by a variable must be there: a typo would otherwise start with an empty configuration
    and no login. Only the default, `~/.codex`, is made when it is missing.

    :raises HomeError: it is missing, is no directory or cannot be made.
    """
    for variable in HOME_VARIABLES:
        named = environ.get(variable)
        if not named:
            continue
        if not os.path.exists(named):
            raise HomeError(f'{variable} points to "{named}", but that path does not exist')
        if not os.path.isdir(named):
            raise HomeError(f'{variable} points to "{named}", but that path is not a directory')
        return os.path.realpath(named)
    user = environ.get("HOME") or os.path.expanduser("~")
    if not os.path.isabs(user):
        raise HomeError("no home directory: set BULKHEAD_HOME, CODEX_HOME or HOME")
    default = os.path.join(user, DEFAULT_HOME)
    try:
        os.makedirs(default, mode=HOME_MODE, exist_ok=True)
    except OSError as error:
        raise HomeError(f'cannot make the home directory "{default}": {error.strerror}') from error
    return os.path.realpath(default)
