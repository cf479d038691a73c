"""The configuration as it was written: one layer a source, from `config.toml` to a request's overrides.

A layer is a plain nested dict. Later layers win: tables are merged key by key, everything else is replaced.
What the values mean is the business of `config.settings`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec
import tomli

from config.errors import InvalidOverrideError, MalformedConfigError, ProfileNotFoundError
from config.positions import Path, Position, positions_of, split_key

__all__ = [
    "CONFIG_FILE",
    "SYSTEM_FILE",
    "Document",
    "Layer",
    "Origin",
    "load_document",
    "parse_override",
    "read_layer",
    "read_text",
]

CONFIG_FILE = "config.toml"
SYSTEM_FILE = "/etc/codex/config.toml"
"""What the machine's administrator sets for all users; the weakest layer. It need not exist."""


class Origin(msgspec.Struct, frozen=True):
    """Where a layer comes from. `file` is set for all that are files, `profile` for `profile`."""

    kind: Literal["system", "user", "profile", "project", "flags", "request"]
    file: str | None = None
    profile: str | None = None


class Layer(msgspec.Struct, frozen=True):
    """`positions` hold the place of each value in the file, by the path within `values`.

    A layer that is `disabled` (the reason) is shown to clients and counts for nothing.
    """

    origin: Origin
    values: dict[str, Any]
    positions: dict[Path, Position] = {}
    disabled: str | None = None


class Document(msgspec.Struct, frozen=True):
    """All layers, the weakest first."""

    layers: tuple[Layer, ...] = ()

    def merged(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for layer in self.layers:
            if layer.disabled is None:
                _merge(values, layer.values)
        return values

    def layer_of(self, path: Path) -> Layer | None:
        """The strongest layer that says something about `path`, or about a container of it."""
        for length in range(len(path), 0, -1):
            for layer in reversed(self.layers):
                if layer.disabled is None and _holds(layer.values, path[:length]):
                    return layer
        return None

    def position_of(self, path: Path) -> tuple[Origin, Position | None] | None:
        """Where the value that counts for `path` stands; without a position when it is in no file."""
        layer = self.layer_of(path)
        if layer is None:
            return None
        for length in range(len(path), 0, -1):
            position = layer.positions.get(path[:length])
            if position is not None:
                return layer.origin, position
        return layer.origin, None

    def with_request(self, overrides: Mapping[str, Any]) -> Document:
        """The document under the `config` of a request: nested tables, dotted keys or both.

        :raises InvalidOverrideError: a dotted key cannot be taken apart.
        """
        if not overrides:
            return self
        values: dict[str, Any] = {}
        for key, value in overrides.items():
            # null is how a client says "not set"; TOML has no such value
            if value is not None:
                _merge(values, _nested(_parts(key, key), value))
        return Document((*self.layers, Layer(Origin("request"), values)))


def load_document(
    home: str,
    *,
    overrides: Iterable[str] = (),
    profile: str | None = None,
    enable: Iterable[str] = (),
    disable: Iterable[str] = (),
    system: str = SYSTEM_FILE,
) -> Document:
    """The file `system`, `<home>/config.toml` (both may be missing), then the profile, then the flags.

    `overrides` are the arguments of `-c`, `enable` and `disable` names of features. A profile is
    `<home>/NAME.config.toml` or the table `[profiles.NAME]`; without `profile` the file's own key `profile`
    picks one.

    :raises MalformedConfigError: a file is no TOML or cannot be read.
    :raises InvalidOverrideError: an override is not of the form `key=value`.
    :raises ProfileNotFoundError: there is no profile of that name.
    """
    file = os.path.join(home, CONFIG_FILE)
    base = read_layer(file, Origin("user", file))
    layers = [layer for layer in (read_layer(system, Origin("system", system)), base) if layer is not None]
    chosen = profile or (base.values.get("profile") if base else None)
    if isinstance(chosen, str) and chosen:
        layers.append(_profile(home, base, chosen))
    flags: dict[str, Any] = {}
    for override in overrides:
        _merge(flags, parse_override(override))
    for names, state in ((enable, True), (disable, False)):
        for name in names:
            _merge(flags, {"features": {name: state}})
    if flags:
        layers.append(Layer(Origin("flags"), flags))
    return Document(tuple(layers))


def parse_override(argument: str) -> dict[str, Any]:
    """The nested dict that `-c dotted.key=value` stands for.

    The value is TOML; what is no TOML is taken as a string, without the quotes around it, so that
    `-c model=gpt-5.5` needs none.

    :raises InvalidOverrideError: there is no `=`, or the key is empty or cannot be taken apart.
    """
    key, equals, text = argument.partition("=")
    if not equals:
        raise InvalidOverrideError(f"Invalid override (missing '='): {argument}")
    if not key.strip():
        raise InvalidOverrideError(f"Empty key in override: {argument}")
    text = text.strip()
    try:
        parsed = tomli.loads(f"value = {text}")
    except tomli.TOMLDecodeError:
        parsed = {}
    # text with line ends could have brought keys of its own
    value = parsed["value"] if parsed.keys() == {"value"} else text.strip("\"'")
    return _nested(_parts(key.strip(), argument), value)


def _parts(key: str, shown: str) -> list[str]:
    try:
        return split_key(key)
    except ValueError as error:
        raise InvalidOverrideError(f"Invalid key in override ({error}): {shown}") from error


def _nested(parts: list[str], value: Any) -> dict[str, Any]:
    for part in reversed(parts):
        value = {part: value}
    assert isinstance(value, dict)
    return value


def _merge(target: dict[str, Any], source: Mapping[str, Any]) -> None:
    """Lays `source` over `target`; `source` and what it holds stay as they are."""
    for key, value in source.items():
        if isinstance(value, dict):
            below = target.get(key)
            fresh: dict[str, Any] = {} if not isinstance(below, dict) else below
            target[key] = fresh
            _merge(fresh, value)
        else:
            target[key] = value


def _holds(values: Any, path: Path) -> bool:
    for part in path:
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def read_text(file: str) -> str:
    """What stands in a configuration file, line ends and all.

    :raises MalformedConfigError: it is a pipe, or not UTF-8.
    :raises OSError: it is not there or cannot be read.
    """
    # A pipe in its place would be waited for by all threads, for whoever writes into it.
    with open(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
        if stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode):
            raise MalformedConfigError(file, 0, 0, "cannot be read: it is a pipe")
        try:
            return stream.read().decode()
        except UnicodeDecodeError as error:
            raise MalformedConfigError(file, 0, 0, f"not UTF-8 text (byte {error.start})") from error


def read_layer(file: str, origin: Origin) -> Layer | None:
    """The file as a layer, None if it is not there.

    :raises MalformedConfigError: it is no TOML or cannot be read.
    """
    try:
        text = read_text(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise MalformedConfigError(file, 0, 0, f"cannot be read: {error.strerror}") from error
    try:
        values = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise MalformedConfigError(file, error.lineno, error.colno, error.msg) from error
    return Layer(origin, values, positions_of(text))


def _profile(home: str, base: Layer | None, name: str) -> Layer:
    file = os.path.join(home, f"{name}.{CONFIG_FILE}")
    if os.sep not in name:
        own = read_layer(file, Origin("profile", file, name))
        if own is not None:
            return own
    profiles = base.values.get("profiles") if base else None
    table = profiles.get(name) if isinstance(profiles, dict) else None
    if base is None or not isinstance(table, dict):
        raise ProfileNotFoundError(
            f"profile `{name}` not found: no [profiles.{name}] in {CONFIG_FILE} and no {file}"
        )
    prefix = ("profiles", name)
    places = {path[2:]: place for path, place in base.positions.items() if path[:2] == prefix and path[2:]}
    return Layer(Origin("profile", base.origin.file, name), table, places)
