"""What clients are told about a configuration that can be used and may not mean what its writer thinks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import msgspec

from config.document import CONFIG_FILE, Document, Layer
from config.effective import known_keys
from config.errors import ConfigError
from config.features import feature_names
from config.projects import USER_ONLY_KEYS, with_project_layers
from config.settings import Bulkhead
from protocol.notifications import ConfigWarning

__all__ = ["project_warnings", "user_warnings"]


def user_warnings(document: Document) -> list[ConfigWarning]:
    """About the layers of the machine, the user and the flags."""
    warnings = []
    unknown = [line for layer in document.layers for line in _unknown(layer)]
    if unknown:
        warnings.append(
            ConfigWarning(
                summary="\n  ".join([f"{len(unknown)} settings are not known and ignored:", *unknown])
            )
        )
    return warnings


def project_warnings(document: Document, home: str, cwd: str) -> list[ConfigWarning]:
    """About `.codex/config.toml` in `cwd` and above it."""
    try:
        layers = with_project_layers(document, cwd, home).layers
    except ConfigError as error:
        return [
            ConfigWarning(summary=f"{cwd}: the project's configuration cannot be read.", details=str(error))
        ]
    warnings = []
    projects = [layer for layer in layers if layer.origin.kind == "project"]
    disabled = [layer.disabled for layer in projects if layer.disabled is not None]
    if disabled:
        warnings.append(
            ConfigWarning(summary="\n  ".join(["The configuration of a project is not used:", *disabled]))
        )
    for layer in projects:
        ignored = sorted(USER_ONLY_KEYS & _keys_of(layer)) if layer.disabled is None else []
        if ignored:
            warnings.append(
                ConfigWarning(
                    summary=f"{layer.origin.file}: {', '.join(ignored)} are ignored in a project; "
                    f"set them in {os.path.join(home, CONFIG_FILE)}."
                )
            )
    return warnings


def _unknown(layer: Layer) -> Iterator[str]:
    """A line for each key that neither program knows."""
    where = layer.origin.file or layer.origin.kind
    for key in layer.values:
        if key not in known_keys():
            yield f"{where}: `{key}`"
    tables: tuple[tuple[str, set[str]], ...] = (
        ("features", feature_names()),
        ("bulkhead", {field.encode_name for field in msgspec.structs.fields(Bulkhead)}),
    )
    for table, names in tables:
        given = layer.values.get(table)
        if isinstance(given, Mapping):
            yield from (f"{where}: `{table}.{key}`" for key in given if key not in names)


def _keys_of(layer: Layer) -> set[str]:
    """What the file says at its top, the keys that were taken out of the layer among it."""
    return {str(path[0]) for path in layer.positions}
