"""The models a client can choose from: `model/list`."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from protocol.base import Params, Wire
from protocol.constraints import Unsigned32

__all__ = [
    "Model",
    "ModelAvailabilityNux",
    "ModelListParams",
    "ModelListResponse",
    "ModelServiceTier",
    "ModelUpgradeInfo",
    "ReasoningEffortOption",
]

InputModality = Literal["text", "image"]
Limit = Unsigned32


class ReasoningEffortOption(Wire, kw_only=True):
    reasoning_effort: str
    description: str


class ModelServiceTier(Wire, kw_only=True):
    id: str
    name: str
    description: str


class ModelUpgradeInfo(Wire, kw_only=True):
    """What to say when a better model is there. `retirement_at` in unix seconds."""

    model: str
    upgrade_copy: str | None = None
    model_link: str | None = None
    migration_markdown: str | None = None
    retirement_at: int | None = None


class ModelAvailabilityNux(Wire, kw_only=True):
    """A hint that a client shows once for a new model."""

    message: str


class Model(Wire, kw_only=True):
    """`id` and `model` are the same; `upgrade` repeats `upgrade_info.model`."""

    id: str
    model: str
    upgrade: str | None = None
    upgrade_info: ModelUpgradeInfo | None = None
    availability_nux: ModelAvailabilityNux | None = None
    display_name: str
    description: str
    model_specialty: str | None = None
    hidden: bool = False
    supported_reasoning_efforts: list[ReasoningEffortOption]
    default_reasoning_effort: str
    input_modalities: list[InputModality] = msgspec.field(default_factory=lambda: ["text", "image"])
    supports_personality: bool = False
    multi_agent_version: str | None = None
    additional_speed_tiers: list[str] = msgspec.field(default_factory=list)
    service_tiers: list[ModelServiceTier] = msgspec.field(default_factory=list)
    default_service_tier: str | None = None
    available_access_programs: Any = None
    is_default: bool = False


class ModelListParams(Params, kw_only=True):
    """`limit` 0 means 1, an absent one all. `cursor` is the `next_cursor` of the page before."""

    cursor: str | None = None
    include_hidden: bool | None = None
    limit: Limit | None = None
    model_provider: str | None = None


class ModelListResponse(Wire, kw_only=True):
    data: list[Model]
    next_cursor: str | None = None
