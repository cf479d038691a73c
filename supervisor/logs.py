"""Logs go to stderr, stdout belongs to the protocol. `BULKHEAD_LOG` sets the level, `LOG_FORMAT=json` the form."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections import deque

__all__ = ["recent", "set_up"]

RECENT_LINES = 500
"""Kept for feedback reports: the last minutes of a server in trouble, days of one that is well."""

_recent: deque[str] = deque(maxlen=RECENT_LINES)

_FORM = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_FIELDS = ("thread_id", "turn", "epoch", "pid")


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        fields = " ".join(f"{name}={getattr(record, name)}" for name in _FIELDS if hasattr(record, name))
        return f"{text} {fields}" if fields else text


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update({name: getattr(record, name) for name in _FIELDS if hasattr(record, name)})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class _Keep(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _recent.append(self.format(record))


def recent() -> str:
    """The last lines of this process's log."""
    return "".join(f"{line}\n" for line in _recent)


def set_up() -> None:
    handler = logging.StreamHandler(sys.stderr)
    if os.environ.get("LOG_FORMAT") == "json":
        handler.setFormatter(_Json())
    else:
        handler.setFormatter(_Text(_FORM))
    level = os.environ.get("BULKHEAD_LOG", "warning").upper()
    root = logging.getLogger()
    root.addHandler(handler)
    keep = _Keep()
    keep.setFormatter(_Text(_FORM))
    root.addHandler(keep)
    root.setLevel(level if level in logging.getLevelNamesMapping() else logging.WARNING)
