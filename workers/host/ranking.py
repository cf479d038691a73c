"""Which files a query means: fuzzy matching by a library, and the peer's preference for names over paths.

A query is one or more words, all of which must match; `'word`, `^word`, `word$` and `!word` mean what they mean in fzf.
A query of one plain word that fits a file's name beats all that only fit the path, and the name itself beats both.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from protocol.file_search import FuzzyFileSearchResult
from workers.host.listing import Listing

if TYPE_CHECKING:
    from frizbee import Matcher

__all__ = ["rank"]

RESULT_LIMIT = 50
"""As many as the peer sends."""
IN_NAME, NAMED_DIRECTORY, NAMED_FILE = 0x10000, 0x20000, 0x30000
"""Added to scores, far above what a match can score: the order of results is that of their scores."""
_PLAIN = re.compile(r"[^\s!^'$\\/][^\s$\\/]*\Z")
_Scored = tuple[int, int, bool]
"""(score, index in the listing, whether the name alone matched)"""


def rank(listing: Listing, query: str) -> list[FuzzyFileSearchResult]:
    """The best first; none for an empty query. Blocks for some milliseconds per 100,000 files."""
    from frizbee import Matcher, Pattern  # noqa: PLC0415 - few workers search, and all would pay

    patterns = Pattern.from_query(query)
    if not patterns:
        return []

    def matcher(limit: int) -> Matcher:
        return Matcher.from_patterns(patterns, casing="ignore", max_items=limit)

    found: list[_Scored] = []
    seen: set[int] = set()
    if _PLAIN.match(query):
        for match in matcher(RESULT_LIMIT).match_list(listing.names):
            found.append((_bonus(listing, match.index, query) + match.score, match.index, True))
            seen.add(match.index)
    if len(found) < RESULT_LIMIT:
        matches = matcher(RESULT_LIMIT + len(found)).match_list(listing.paths)
        found.extend((match.score, match.index, False) for match in matches if match.index not in seen)
    found.sort(key=lambda item: (-item[0], item[1]))
    return _results(listing, found[:RESULT_LIMIT], matcher(RESULT_LIMIT))


def _bonus(listing: Listing, index: int, query: str) -> int:
    path, root = listing.entries[index]
    if os.path.basename(path).casefold() != query.casefold():
        return IN_NAME
    return NAMED_DIRECTORY if os.path.isdir(os.path.join(root, path)) else NAMED_FILE


def _results(listing: Listing, found: list[_Scored], matcher: Matcher) -> list[FuzzyFileSearchResult]:
    results: list[FuzzyFileSearchResult] = []
    for score, index, by_name in found:
        path, root = listing.entries[index]
        name = os.path.basename(path)
        match = matcher.match_one_indices(name if by_name else path, 0)
        text = name if by_name else path
        indices = _characters(text, match.indices) if match is not None else []
        offset = len(path) - len(text)
        results.append(
            FuzzyFileSearchResult(
                root=root,
                path=path,
                match_type="directory" if os.path.isdir(os.path.join(root, path)) else "file",
                file_name=name,
                score=score,
                indices=[offset + position for position in indices],
            )
        )
    return results


def _characters(text: str, places: list[int]) -> list[int]:
    """The library counts bytes, the protocol characters; ascending, each once."""
    if text.isascii():
        return sorted(set(places))
    data = text.encode()
    return sorted({len(data[:place].decode("utf-8", "ignore")) for place in places})
