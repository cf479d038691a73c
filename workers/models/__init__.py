"""The clients of model APIs: `open_stream` asks a provider and gives the events of its response."""

from __future__ import annotations

import sys

# httpx brings a command line of its own where click and rich are installed: 90 ms and 6 MiB that no worker needs.
# It takes the absence of that module for the absence of click.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # None is how an import is refused

from workers.models.client import make_client  # noqa: E402 - see above
from workers.models.errors import ModelError  # noqa: E402 - see above
from workers.models.request import Authorize, ModelRequest, Provider, Reasoning  # noqa: E402 - see above
from workers.models.stream import open_stream  # noqa: E402 - see above
from workers.models.warmup import warm  # noqa: E402 - see above

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
