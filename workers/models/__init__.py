"""The clients of model APIs: `open_stream` asks a provider and gives the events of its response."""

from __future__ import annotations

from network.transport import make_client
from workers.models.errors import ModelError
from workers.models.request import Authorize, ModelRequest, Provider, Reasoning
from workers.models.stream import open_stream
from workers.models.warmup import warm

__all__ = [
    "Authorize",
    "ModelError",
    "ModelRequest",
    "Provider",
    "Reasoning",
    "make_client",
    "open_stream",
    "warm",
]
