"""Project layers: `.codex/config.toml` of the folders between a project's root and the cwd, where they are trusted."""

from __future__ import annotations

import os
from collections.abc import Mapping

import msgspec

from config.document import CONFIG_FILE, Document, Layer, Origin, read_layer
from config.project_docs import folders_to_root
from config.settings import Project, settings_of
from config.trust import trust_of

__all__ = ["USER_ONLY_KEYS", "with_project_layers"]

PROJECT_FOLDER = ".codex"
USER_ONLY_KEYS = frozenset(
    {
        "apps_mcp_product_sku",
        "bulkhead",
        "chatgpt_base_url",
        "experimental_realtime_webrtc_call_base_url",
        "experimental_realtime_ws_base_url",
        "model_provider",
        "model_providers",
        "notify",
        "openai_base_url",
        "otel",
        "profile",
        "profiles",
        "projects",
        "responses_api_metadata",
    }
)
"""Taken out of project layers: where requests and credentials go, and what runs outside of the sandbox, is not for a
repository to say. Those of Codex 0.169, our own table, and trust."""

_OVER_PROJECTS = ("flags", "request")


def with_project_layers(document: Document, cwd: str, home: str) -> Document:
    """The document with the layers of `cwd` (absolute; need not exist), below flags and requests.

    A folder nobody trusts has a layer that is empty and disabled: its file is not even read.

    :raises MalformedConfigError: a trusted file is no TOML or cannot be read.
    :raises InvalidSettingError: trust or the root markers are set to something that they cannot be.
    """
    settings = settings_of(document)
    layers = []
    for folder in reversed(folders_to_root(cwd, settings.project_root_markers)):
        own = os.path.join(folder, PROJECT_FOLDER)
        # The home of a user whose cwd is his home directory is no project of his.
        if os.path.isdir(own) and not _same(own, home):
            layers.append(_layer(folder, own, home, settings.projects))
    if not layers:
        return document
    over = [layer for layer in document.layers if layer.origin.kind in _OVER_PROJECTS]
    under = [layer for layer in document.layers if layer.origin.kind not in _OVER_PROJECTS]
    return Document((*under, *layers, *over))


def _layer(folder: str, own: str, home: str, projects: Mapping[str, Project]) -> Layer:
    file = os.path.join(own, CONFIG_FILE)
    origin = Origin("project", file)
    trust = trust_of(folder, projects)
    if trust == "trusted":
        layer = read_layer(file, origin) or Layer(origin, {})
        kept = {key: value for key, value in layer.values.items() if key not in USER_ONLY_KEYS}
        return msgspec.structs.replace(layer, values=kept)
    said = "is not trusted" if trust is None else "is marked as untrusted"
    return Layer(
        origin,
        {},
        disabled=f"{folder} {said}: its config.toml counts when `[projects]` in "
        f"{os.path.join(home, CONFIG_FILE)} has it as trusted",
    )


def _same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
