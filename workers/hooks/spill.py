"""What a hook says to the model, if it is long: the ends of it, and the name of a file that has the whole."""

from __future__ import annotations

import os
import tempfile

from rollouts.ids import new_id
from workers.tools.tool_output import token_count, truncated

__all__ = ["fitted"]

DEFAULT_LIMIT = 2500
"""Tokens. A hook runs at every prompt, so what it says adds up."""


def fitted(text: str, limit: int | None) -> str:
    """`limit` in tokens: None for the default, 0 for none."""
    limit = DEFAULT_LIMIT if limit is None else limit
    if limit == 0 or token_count(len(text.encode(errors="replace"))) <= limit:
        return text
    shown = truncated(text, limit)
    try:
        # A folder of its own, since others may write to the one above.
        path = os.path.join(tempfile.mkdtemp(prefix="hook-output-"), f"{new_id()}.txt")
        with open(path, "x", encoding="utf-8", errors="replace") as stream:
            stream.write(text)
    except OSError as error:
        return f"{shown}\n\nThe full hook output could not be saved: {error}"
    return f"{shown}\n\nFull hook output saved to: {path}"
