"""The features of Codex by name (`features.json`), and which of them this server has.

A client's switches find their rows whether or not they mean anything here; on are only those that do.
"""

from __future__ import annotations

import functools
import os

import msgspec

from config.settings import Settings
from protocol.inventory import ExperimentalFeature, FeatureStage

__all__ = ["feature_names", "features", "unstable"]

FEATURES_FILE = "features.json"


class _Feature(msgspec.Struct, frozen=True, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """`here`: this server has it, and it is on; `switched`: `[features]` turns it on or off. In beta it has words for people."""

    name: str
    stage: FeatureStage
    here: bool = False
    switched: bool = False
    display_name: str | None = None
    description: str | None = None
    announcement: str | None = None


@functools.cache
def _entries() -> tuple[_Feature, ...]:
    with open(os.path.join(os.path.dirname(__file__), FEATURES_FILE), "rb") as stream:
        return msgspec.json.decode(stream.read(), type=tuple[_Feature, ...])


def feature_names() -> set[str]:
    return {entry.name for entry in _entries()}


def features(settings: Settings) -> tuple[ExperimentalFeature, ...]:
    """All of them, in the order of Codex 0.169."""
    return tuple(
        ExperimentalFeature(
            name=entry.name,
            stage=entry.stage,
            display_name=entry.display_name,
            description=entry.description,
            announcement=entry.announcement,
            enabled=settings.feature(entry.name, default=entry.here) if entry.switched else entry.here,
            default_enabled=entry.here,
        )
        for entry in _entries()
    )


def unstable(settings: Settings) -> tuple[str, ...]:
    """The features that are on and that Codex calls under development, by name."""
    if settings.suppress_unstable_features_warning:
        return ()
    return tuple(
        sorted(
            feature.name
            for feature in features(settings)
            if feature.enabled and feature.stage == "underDevelopment"
        )
    )
