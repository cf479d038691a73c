"""The features of Codex by name (`features.json`), and which of them this server has.

A client's switches find their rows whether or not they mean anything here; on are only those that do.
"""

from __future__ import annotations

import functools
import os

import msgspec

from protocol.inventory import ExperimentalFeature, FeatureStage

__all__ = ["features"]

FEATURES_FILE = "features.json"


class _Feature(msgspec.Struct, frozen=True, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """`here`: this server has it, and always on. A feature in beta has words for people."""

    name: str
    stage: FeatureStage
    here: bool = False
    display_name: str | None = None
    description: str | None = None
    announcement: str | None = None


@functools.cache
def features() -> tuple[ExperimentalFeature, ...]:
    """All of them, in the order of Codex 0.169."""
    with open(os.path.join(os.path.dirname(__file__), FEATURES_FILE), "rb") as stream:
        entries = msgspec.json.decode(stream.read(), type=tuple[_Feature, ...])
    return tuple(
        ExperimentalFeature(
            name=entry.name,
            stage=entry.stage,
            display_name=entry.display_name,
            description=entry.description,
            announcement=entry.announcement,
            enabled=entry.here,
            default_enabled=entry.here,
        )
        for entry in entries
    )
