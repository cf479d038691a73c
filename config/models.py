"""The catalogue of models we know, from `models.json`, and what is assumed of all others.

The file has the ids, names, order and efforts of Codex 0.169, so that a client finds what it expects. The
context windows are those Codex reports; all models get plain function tools here.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from typing import Literal

import msgspec

from config.pages import page
from protocol.models import (
    Model,
    ModelAvailabilityNux,
    ModelListResponse,
    ModelServiceTier,
    ModelUpgradeInfo,
    ReasoningEffortOption,
)

__all__ = ["ModelInfo", "Upgrade", "default_model", "find_model", "list_models"]

CATALOGUE_FILE = "models.json"
# The rest is left for the answer and for what the count of tokens gets wrong.
USABLE_PERCENT = 95
# Compaction itself must fit into what is left.
COMPACT_PERCENT = 90

Verbosity = Literal["low", "medium", "high"]


class ModelInfo(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What a model can do. `context_window` in tokens, as the model has it.

    `tools` are the names it may be given; the settings decide which of them it gets. `known` is false for a
    model that is not in the catalogue. `verbosity` None: the parameter is not sent. `summary` is asked for unless the
    settings say otherwise. `reasoning_context`: which of its thoughts a model goes on from, None for its own choice.
    `image_detail`: how closely pictures are looked at, None for the model's own choice.
    """

    context_window: int
    verbosity: Verbosity | None
    parallel_tool_calls: bool
    tools: tuple[str, ...]
    default_effort: str | None = None
    summary: str | None = None
    reasoning_context: str | None = None
    image_detail: Literal["original", "high"] | None = None
    known: bool = False

    @property
    def usable_window(self) -> int:
        """The `modelContextWindow` that clients see, in tokens."""
        return self.context_window * USABLE_PERCENT // 100

    @property
    def compact_limit(self) -> int:
        """The tokens from which on a thread is compacted."""
        return self.context_window * COMPACT_PERCENT // 100


class Upgrade(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    model: str
    migration_markdown: str


class _Entry(msgspec.Struct, frozen=True, rename="camel", kw_only=True, forbid_unknown_fields=True):
    id: str
    display_name: str
    description: str
    hidden: bool = False
    is_default: bool = False
    model_specialty: str | None = None
    upgrade: Upgrade | None = None
    availability_message: str | None = None
    efforts: tuple[str, ...]
    default_effort: str
    multi_agent_version: str | None = None
    speed_tiers: tuple[str, ...] = ()
    service_tiers: tuple[ModelServiceTier, ...] = ()
    default_service_tier: str | None = None
    context_window: int
    verbosity: Verbosity
    parallel_tool_calls: bool
    tools: tuple[str, ...]
    reasoning_context: str | None = None
    image_detail: Literal["original"] | None = None

    def info(self) -> ModelInfo:
        return ModelInfo(
            context_window=self.context_window,
            verbosity=self.verbosity,
            parallel_tool_calls=self.parallel_tool_calls,
            tools=self.tools,
            default_effort=self.default_effort,
            reasoning_context=self.reasoning_context,
            image_detail=self.image_detail,
            known=True,
        )

    def wire(self, efforts: dict[str, str]) -> Model:
        upgrade = self.upgrade
        message = self.availability_message
        return Model(
            id=self.id,
            model=self.id,
            upgrade=upgrade.model if upgrade else None,
            upgrade_info=ModelUpgradeInfo(model=upgrade.model, migration_markdown=upgrade.migration_markdown)
            if upgrade
            else None,
            availability_nux=ModelAvailabilityNux(message=message) if message else None,
            display_name=self.display_name,
            description=self.description,
            model_specialty=self.model_specialty,
            hidden=self.hidden,
            supported_reasoning_efforts=[
                ReasoningEffortOption(reasoning_effort=effort, description=efforts[effort])
                for effort in self.efforts
            ],
            default_reasoning_effort=self.default_effort,
            multi_agent_version=self.multi_agent_version,
            additional_speed_tiers=list(self.speed_tiers),
            service_tiers=list(self.service_tiers),
            default_service_tier=self.default_service_tier,
            is_default=self.is_default,
        )


class _Unknown(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What a client may choose for a model that a provider offers and the catalogue does not have."""

    efforts: tuple[str, ...]
    default_effort: str


class _Catalogue(msgspec.Struct, frozen=True, kw_only=True):
    efforts: dict[str, str]
    fallback: ModelInfo
    unknown: _Unknown
    models: tuple[_Entry, ...]


@functools.cache
def _catalogue() -> _Catalogue:
    with open(os.path.join(os.path.dirname(__file__), CATALOGUE_FILE), "rb") as stream:
        return msgspec.json.decode(stream.read(), type=_Catalogue)


def default_model() -> str:
    """The model of a thread that nobody chose one for."""
    return next(entry.id for entry in _catalogue().models if entry.is_default)


def find_model(name: str) -> ModelInfo:
    """What is known about `name`; any name is accepted, an unknown one gets the cautious fallback."""
    for entry in _catalogue().models:
        if entry.id == name:
            return entry.info()
    return _catalogue().fallback


def list_models(
    cursor: str | None = None,
    limit: int | None = None,
    *,
    include_hidden: bool = False,
    offered: Sequence[str] | None = None,
    preferred: str | None = None,
) -> ModelListResponse:
    """One page of the catalogue, or of what the provider has `offered` (ids, in its order).

    A cursor is the index of the page's first model. Of an offer, `preferred` is the default if it is in it.

    :raises InvalidCursorError: it is no number, or lies behind the end.
    """
    catalogue = _catalogue()
    models = [entry.wire(catalogue.efforts) for entry in catalogue.models]
    if offered is not None:
        models = _of_offer(offered, models, preferred)
    models = [model for model in models if include_hidden or not model.hidden]
    shown, after = page(models, cursor, limit, "models")
    return ModelListResponse(data=shown, next_cursor=after)


def _of_offer(offered: Sequence[str], known: Sequence[Model], preferred: str | None) -> list[Model]:
    """Known models first, in their order; the others as plain as can be. One is the default."""
    rest = [name for name in offered if name not in {model.id for model in known}]
    models = [model for model in known if model.id in offered] + [_plain(name) for name in rest]
    chosen = next((model for model in models if model.id == preferred), None) or next(
        (model for model in models if model.is_default), models[0]
    )
    for model in models:
        model.is_default = model is chosen
    return models


def _plain(name: str) -> Model:
    catalogue = _catalogue()
    return Model(
        id=name,
        model=name,
        display_name=name,
        description="",
        supported_reasoning_efforts=[
            ReasoningEffortOption(reasoning_effort=effort, description=catalogue.efforts[effort])
            for effort in catalogue.unknown.efforts
        ],
        default_reasoning_effort=catalogue.unknown.default_effort,
    )
