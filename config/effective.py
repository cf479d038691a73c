"""What `config/read` answers: the merged layers with their defaults, and which layer each value comes from.

The keys and defaults are those of Codex 0.169 (`effective.json`), so that a client finds the same fields whether or
not they mean anything here. Keys of a file that are in neither program are left out of the whole, not of the layers.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterator
from typing import Any

import msgspec

from config.document import CONFIG_FILE, SYSTEM_FILE, Document, Layer, Origin
from config.settings import settings_of
from protocol.base import UNSET
from protocol.configuration import (
    ConfigLayer,
    ConfigLayerMetadata,
    ConfigLayerSource,
    ConfigReadResponse,
    ProjectSource,
    SessionFlagsSource,
    SystemSource,
    UserSource,
)

__all__ = ["known_keys", "metadata_of", "read_config", "version_of"]

TEMPLATE_FILE = "effective.json"
OWN_TABLE = "bulkhead"
"""Shown when it is set: Codex has no such key."""


class _Template(msgspec.Struct, frozen=True):
    """What is there when no file says otherwise.

    `defaults`: top-level keys. `tables`: keys of a table that a file has any of. `entries`: the same for each table
    within a table.
    """

    defaults: dict[str, Any]
    tables: dict[str, dict[str, Any]]
    entries: dict[str, dict[str, Any]]


def read_config(document: Document, home: str, *, include_layers: bool) -> ConfigReadResponse:
    """:raises InvalidSettingError: a key we understand has a wrong type or is out of range."""
    settings = settings_of(document)
    merged = document.merged()
    if settings.approval_policy == "on-failure":
        merged = {**merged, "approval_policy": "on-request"}  # what it is called today
    return ConfigReadResponse(
        config=_with_defaults(merged),
        origins=origins_of(document),
        layers=[_layer(layer) for layer in reversed(_all_layers(document, home))]
        if include_layers
        else UNSET,
    )


def version_of(values: dict[str, Any]) -> str:
    """What a client gives back as `expectedVersion`; the same for the same values, however they are written."""
    text = msgspec.json.encode(values, order="sorted")
    return f"sha256:{hashlib.sha256(text).hexdigest()}"


def metadata_of(layer: Layer) -> ConfigLayerMetadata:
    return ConfigLayerMetadata(name=_source(layer.origin), version=version_of(layer.values))


def origins_of(document: Document) -> dict[str, ConfigLayerMetadata]:
    """By the dotted path of each value that is no table; elements of arrays count as values of their own."""
    origins: dict[str, ConfigLayerMetadata] = {}
    merged = document.merged()
    for layer in document.layers:
        if layer.disabled is None:
            metadata = metadata_of(layer)
            for path in _leaves(layer.values):
                if _is_leaf(merged, path):
                    origins[".".join(path)] = metadata
    return origins


@functools.cache
def known_keys() -> frozenset[str]:
    """The top-level keys of both programs."""
    return frozenset(_template().defaults) | {OWN_TABLE}


def _layer(layer: Layer) -> ConfigLayer:
    metadata = metadata_of(layer)
    return ConfigLayer(
        name=metadata.name,
        version=metadata.version,
        config=layer.values,
        disabled_reason=UNSET if layer.disabled is None else layer.disabled,
    )


def _all_layers(document: Document, home: str) -> list[Layer]:
    """With the two files that are layers even when they are not there."""
    layers = list(document.layers)
    kinds = [layer.origin.kind for layer in layers]
    if "system" not in kinds:
        layers.insert(0, Layer(Origin("system", SYSTEM_FILE), {}))
    if "user" not in kinds:
        layers.insert(1, Layer(Origin("user", os.path.join(home, CONFIG_FILE)), {}))
    return layers


def _source(origin: Origin) -> ConfigLayerSource:
    file = origin.file or ""
    if origin.kind == "system":
        return SystemSource(file=file)
    if origin.kind == "project":
        return ProjectSource(dot_codex_folder=os.path.dirname(file))
    if origin.kind in ("user", "profile"):
        return UserSource(file=file, profile=origin.profile)
    return SessionFlagsSource()


def _leaves(values: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(values, dict):
        for key, value in values.items():
            yield from _leaves(value, (*path, key))
    elif isinstance(values, list):
        for index, value in enumerate(values):
            yield from _leaves(value, (*path, str(index)))
    else:
        yield path


def _is_leaf(values: Any, path: tuple[str, ...]) -> bool:
    for part in path:
        if isinstance(values, dict) and part in values:
            values = values[part]
        elif isinstance(values, list) and part.isdecimal() and int(part) < len(values):
            values = values[int(part)]
        else:
            return False
    return not isinstance(values, dict | list)


def _with_defaults(values: dict[str, Any]) -> dict[str, Any]:
    template = _template()
    config = {key: values.get(key, default) for key, default in template.defaults.items()}
    for key, table in template.tables.items():
        if isinstance(values.get(key), dict):
            config[key] = {**table, **values[key]}
    for key, entry in template.entries.items():
        if isinstance(values.get(key), dict):
            config[key] = {
                name: {**entry, **given} if isinstance(given, dict) else given
                for name, given in values[key].items()
            }
    if OWN_TABLE in values:
        config[OWN_TABLE] = values[OWN_TABLE]
    return config


@functools.cache
def _template() -> _Template:
    with open(os.path.join(os.path.dirname(__file__), TEMPLATE_FILE), "rb") as stream:
        return msgspec.json.decode(stream.read(), type=_Template)
