"""Secrets taken out of bytes that leave the machine's user: known values, and what has the form of one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["REDACTED", "Redactor"]

REDACTED = b"[redacted]"
SHORTEST = 8
"""What is shorter is a word like any other: taking it out everywhere would tell what it was."""

_NAME = re.compile(r"key|secret|token|passw|credential|authorization|cookie", re.IGNORECASE)
_SETTING = rb"(?i)((?:api[_-]?key|access[_-]?key|secret|token|passw(?:or)?d)\\?[\"']?\s*[:=]\s*)"
_FORMS = (
    # Keys in PEM, with line ends as they are or escaped.
    (
        re.compile(
            rb"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
        ),
        REDACTED,
    ),
    # User and password of a URL.
    (re.compile(rb"(://)[^/\s\"'@]{1,256}:[^/\s\"'@]{1,256}(@)"), rb"\1" + REDACTED + rb"\2"),
    (re.compile(rb"(?i)\b((?:bearer|basic)\s+)[a-z0-9._~+/-]{8,}=*"), rb"\1" + REDACTED),
    # JSON Web Tokens.
    (re.compile(rb"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), REDACTED),
    # The prefixes of OpenAI, GitHub, GitLab, Slack and AWS.
    (re.compile(rb"\b(?:sk|rt)[-_][\w-]{16,}"), REDACTED),
    (re.compile(rb"\b(?:gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|AKIA)[\w-]{16,}"), REDACTED),
    # `password = "..."`, `"api_key": "..."`, also where the quotes are escaped; then the same without quotes.
    (re.compile(_SETTING + rb"(\\?[\"'])[^\"'\\]{4,}"), rb"\1\2" + REDACTED),
    (re.compile(_SETTING + rb"()[^\s\"'\\,;&}]{8,}"), rb"\1" + REDACTED),
)


class Redactor:
    """`environ` and `configuration` are searched for values whose names say that they are secret."""

    def __init__(self, environ: Mapping[str, str], configuration: Mapping[str, Any]) -> None:
        known = {value for name, value in environ.items() if _NAME.search(name)}
        known.update(_named(configuration))
        # The longest first: one may be a part of another.
        self._known = [
            value.encode(errors="surrogateescape")
            for value in sorted(known, key=len, reverse=True)
            if len(value) >= SHORTEST
        ]

    def clean(self, data: bytes) -> bytes:
        for value in self._known:
            data = data.replace(value, REDACTED)
        for pattern, replacement in _FORMS:
            data = pattern.sub(replacement, data)
        return data


def _named(values: Mapping[str, Any]) -> Iterator[str]:
    """Strings below a key with a telling name. `env_key` names a variable and is none."""
    for name, value in values.items():
        if isinstance(value, str) and _NAME.search(name) and not name.startswith("env_"):
            yield value
        elif isinstance(value, Mapping):
            yield from _named(value)
