"""Base64 as clients send it, refused in the words of the peer's decoder."""

from __future__ import annotations

import binascii
import re

__all__ = ["InvalidBase64", "decode_base64"]

_FOREIGN = re.compile(r"[^A-Za-z0-9+/=]")


class InvalidBase64(ValueError):
    """What is wrong with it."""


def decode_base64(text: str) -> bytes:
    """:raises InvalidBase64: standard alphabet with padding, and nothing else, is taken."""
    try:
        return binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        foreign = _FOREIGN.search(text)
        if foreign is None:
            raise InvalidBase64("Invalid padding") from None
        symbol = text[: foreign.end()].encode()
        offset = len(text[: foreign.start()].encode())
        raise InvalidBase64(f"Invalid symbol {symbol[offset]}, offset {offset}.") from None
