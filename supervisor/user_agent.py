"""What we call ourselves in HTTP headers."""

from __future__ import annotations

import platform

from protocol.session import PROTOCOL_VERSION
from supervisor.version import VERSION

__all__ = ["user_agent"]


def user_agent(name: str, version: str) -> str:
    """The peer's form, so that clients find the protocol's version; who we are stands in the comment."""
    system = f"{platform.system()} {platform.release()}; {platform.machine()}; bulkhead {VERSION}"
    return f"{name}/{PROTOCOL_VERSION} ({system}) unknown ({name}; {version})"
