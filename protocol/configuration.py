"""The configuration over the wire: `config/*` and `configRequirements/read`."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from protocol.base import UNSET, Absent, Params, Wire

__all__ = [
    "ConfigBatchWriteParams",
    "ConfigEdit",
    "ConfigLayer",
    "ConfigLayerMetadata",
    "ConfigLayerSource",
    "ConfigReadParams",
    "ConfigReadResponse",
    "ConfigRequirementsReadResponse",
    "ConfigValueWriteParams",
    "ConfigWriteErrorCode",
    "ConfigWriteResponse",
    "MergeStrategy",
    "OverriddenMetadata",
    "ProjectSource",
    "SessionFlagsSource",
    "SystemSource",
    "UserSource",
]

MergeStrategy = Literal["replace", "upsert"]
ConfigWriteErrorCode = Literal["configLayerReadonly", "configVersionConflict", "configValidationError"]
"""`data.config_write_error_code` of a refused write."""


class _Source(msgspec.Struct, rename="camel", kw_only=True, frozen=True, tag_field="type"):
    pass


class SystemSource(_Source, kw_only=True, frozen=True, tag="system"):
    """The machine's file, which need not exist."""

    file: str


class UserSource(_Source, kw_only=True, frozen=True, tag="user"):
    """`config.toml` of the home, or the profile laid over it."""

    file: str
    profile: str | None = None


class ProjectSource(_Source, kw_only=True, frozen=True, tag="project"):
    dot_codex_folder: str


class SessionFlagsSource(_Source, kw_only=True, frozen=True, tag="sessionFlags"):
    """`-c key=value` and its like on the command line."""


ConfigLayerSource = SystemSource | UserSource | ProjectSource | SessionFlagsSource


class ConfigReadParams(Params, kw_only=True):
    """`cwd`: whose project layers count, a relative one is meant from the server's; None for none."""

    cwd: str | None = None
    include_layers: bool = False


class ConfigLayerMetadata(Wire, kw_only=True):
    """`version` is `sha256:` and the digest of the layer's values as compact JSON with sorted keys."""

    name: ConfigLayerSource
    version: str


class ConfigLayer(Wire, kw_only=True):
    """`disabled_reason` is there only when the layer does not count."""

    name: ConfigLayerSource
    version: str
    config: dict[str, Any]
    disabled_reason: str | Absent = UNSET


class ConfigReadResponse(Wire, kw_only=True):
    """What counts, and who said it.

    `config` has the keys of `config.toml` and their defaults; `origins` goes by dotted key, unquoted; `layers`, if they
    were asked for, has the strongest first.
    """

    config: dict[str, Any]
    origins: dict[str, ConfigLayerMetadata]
    layers: list[ConfigLayer] | Absent = UNSET


class ConfigEdit(Params, kw_only=True):
    """`key_path`: dotted, with double quotes around parts that have dots in them. `value` null takes it away.

    `upsert` merges tables key by key; anything else is replaced either way.
    """

    key_path: str
    value: Any
    merge_strategy: MergeStrategy


class ConfigValueWriteParams(ConfigEdit, kw_only=True):
    """`expected_version`: that of the user layer as the client has read it."""

    expected_version: str | None = None
    file_path: str | None = None


class ConfigBatchWriteParams(Params, kw_only=True):
    edits: list[ConfigEdit]
    expected_version: str | None = None
    file_path: str | None = None
    reload_user_config: bool = False


class OverriddenMetadata(Wire, kw_only=True):
    message: str
    overriding_layer: ConfigLayerMetadata
    effective_value: Any


class ConfigWriteResponse(Wire, kw_only=True):
    status: Literal["ok", "okOverridden"]
    version: str
    file_path: str
    overridden_metadata: OverriddenMetadata | None = None


class ConfigRequirementsReadResponse(Wire, kw_only=True):
    """Always the same: there are no managed requirements here, nobody but the user decides."""

    supports_independent_speed_modes: bool = True
    requirements: dict[str, Any] | None = None
