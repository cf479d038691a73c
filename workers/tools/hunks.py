"""Unified hunks between two texts, with a bound on the work.

Greedy search for the shortest edit (E. W. Myers, "An O(ND) Difference Algorithm and Its Variations", 1986): the
cost follows the number of changed lines, not the size of the file. `difflib` is quadratic in the file and has no
bound; a model that rewrites a large file would stop the worker.
"""

from __future__ import annotations

import re
from array import array
from typing import NamedTuple

__all__ = ["unified"]

MAX_EDITS = 1000
"""Changed lines up to which the shortest edit is looked for. The trace takes 4·MAX_EDITS² bytes."""

MAX_STEPS = 4_000_000
"""Lines compared in one search: about a second."""

COARSE = " too large to compare line by line"
"""Stands behind the second `@@` of a hunk that replaces everything; readers of diffs take it for a heading."""

NO_NEWLINE = "\\ No newline at end of file\n"
_LINE = re.compile(r"[^\n]*\n|[^\n]+")


class _Span(NamedTuple):
    """Lines `old_start:old_stop` become lines `new_start:new_stop`; counted from 0."""

    old_start: int
    old_stop: int
    new_start: int
    new_stop: int


def unified(old: str, new: str, context: int) -> str:
    """The hunks that turn `old` into `new`, with `context` lines around each; empty if they are equal.

    Only a line feed ends a line. Where the texts differ too much, one hunk replaces all between the first and the last
    difference and says so (`COARSE`); it is a correct diff.
    """
    a: list[str] = _LINE.findall(old)
    b: list[str] = _LINE.findall(new)
    shortest = min(len(a), len(b))
    head = 0
    while head < shortest and a[head] == b[head]:
        head += 1
    tail = 0
    while tail < shortest - head and a[-1 - tail] == b[-1 - tail]:
        tail += 1
    middle = _spans(a[head : len(a) - tail], b[head : len(b) - tail])
    heading = ""
    if middle is None:
        heading = COARSE
        middle = [_Span(0, len(a) - tail - head, 0, len(b) - tail - head)]
    spans = [_Span(*(edge + head for edge in span)) for span in middle]
    return "".join(_hunk(a, b, group, context, heading) for group in _groups(spans, context))


def _spans(a: list[str], b: list[str]) -> list[_Span] | None:
    """The changed spans in order, `None` if finding them would take too long."""
    if not a or not b:
        return [_Span(0, len(a), 0, len(b))] if a or b else []
    trace = _search(a, b)
    if trace is None:
        return None
    spans: list[_Span] = []
    x, y = len(a), len(b)
    for edits in range(len(trace), 0, -1):
        reached, diagonal = trace[edits - 1], x - y
        # reached[i] belongs to diagonal i - edits + 1, one step wider than what this edit started from
        down = _came_down(reached, diagonal + edits - 1, len(reached))
        before = diagonal + 1 if down else diagonal - 1
        from_x = reached[before + edits - 1]
        from_y = from_x - before
        to_x, to_y = (from_x, from_y + 1) if down else (from_x + 1, from_y)
        if spans and spans[-1].old_start == to_x and spans[-1].new_start == to_y:
            last = spans.pop()
            spans.append(_Span(from_x, last.old_stop, from_y, last.new_stop))
        else:
            spans.append(_Span(from_x, to_x, from_y, to_y))
        x, y = from_x, from_y
    return spans[::-1]


def _came_down(reached: array[int], index: int, size: int) -> bool:
    """Whether an edit to the diagonal at `index` of `reached` is an insertion: from the diagonal above it."""
    above = reached[index + 1] if 0 <= index + 1 < size else -1
    below = reached[index - 1] if 0 <= index - 1 < size else -1
    return above > below


def _search(a: list[str], b: list[str]) -> list[array[int]] | None:
    """Per number of edits, the furthest line of `a` reached on each diagonal; without the last, which is the end."""
    numbers: dict[str, int] = {}
    left = [numbers.setdefault(line, len(numbers)) for line in a]
    right = [numbers.setdefault(line, len(numbers)) for line in b]
    n, m = len(left), len(right)
    trace: list[array[int]] = []
    reached: array[int] = array("i")
    steps = 0
    for edits in range(min(n + m, MAX_EDITS) + 1):
        wider = array("i", [-1]) * (2 * edits + 1)
        for diagonal in range(-edits, edits + 1, 2):
            if edits == 0:
                x = 0
            elif _came_down(reached, diagonal + edits - 1, len(reached)):
                x = reached[diagonal + edits]
            elif diagonal + edits >= 2 and reached[diagonal + edits - 2] >= 0:
                x = reached[diagonal + edits - 2] + 1
            else:
                continue
            y = x - diagonal
            # off the edge: no shortest edit leads there, so the diagonal counts as not reached
            if x > n or y > m:
                continue
            started = x
            while x < n and y < m and left[x] == right[y]:
                x += 1
                y += 1
            steps += x - started + 1
            if x >= n and y >= m:
                return trace
            wider[diagonal + edits] = x
        if steps > MAX_STEPS:
            return None
        trace.append(wider)
        reached = wider
    return None


def _groups(spans: list[_Span], context: int) -> list[list[_Span]]:
    groups: list[list[_Span]] = []
    for span in spans:
        if groups and span.old_start - groups[-1][-1].old_stop <= 2 * context:
            groups[-1].append(span)
        else:
            groups.append([span])
    return groups


def _hunk(a: list[str], b: list[str], spans: list[_Span], context: int, heading: str) -> str:
    first, last = spans[0], spans[-1]
    before = min(context, first.old_start)
    after = min(context, len(a) - last.old_stop)
    old = _range(first.old_start - before, last.old_stop + after)
    new = _range(first.new_start - before, last.new_stop + after)
    pieces = [f"@@ -{old} +{new} @@{heading}\n"]
    at = first.old_start - before
    for span in spans:
        pieces += [_line(" ", line) for line in a[at : span.old_start]]
        pieces += [_line("-", line) for line in a[span.old_start : span.old_stop]]
        pieces += [_line("+", line) for line in b[span.new_start : span.new_stop]]
        at = span.old_stop
    pieces += [_line(" ", line) for line in a[at : at + after]]
    return "".join(pieces)


def _range(start: int, stop: int) -> str:
    length = stop - start
    if length == 1:
        return str(start + 1)
    # an empty range names the line before it
    return f"{start + 1 if length else start},{length}"


def _line(mark: str, line: str) -> str:
    return f"{mark}{line}" if line.endswith("\n") else f"{mark}{line}\n{NO_NEWLINE}"
