"""What a run of stress.py is measured by, its table, and its plot."""

from __future__ import annotations

from typing import NamedTuple

from stress_server import percentile

SHARES = (0.5, 0.95, 0.99, 1.0)
WIDTH, HEIGHT, MARGIN = 720, 360, 60
COLOURS = ("#1b6ca8", "#d1495b", "#3a7d44", "#8d6a9f")


class Budget(NamedTuple):
    limit: float
    reason: str
    base: float = 0.0


BUDGETS = {
    "lost or refused": Budget(0, "every request is answered, and the machine is large enough for the run"),
    "failed": Budget(0, "nobody kills a worker here, so no turn may fail"),
    "unfinished": Budget(0, "a turn that does not end keeps its user waiting for ever"),
    "stalled KiB a thread": Budget(
        64, "the window of a worker whose client does not read: its credit, and no more than that"
    ),
    "front KiB a thread": Budget(
        64, "the window of a worker whose client does not read, and what the front knows of a thread", base=60
    ),
}
"""`base`: MiB of a front without threads."""


def table(series: dict[str, list[float]]) -> str:
    """Milliseconds at some percentiles."""
    head = f"{'':24}{'count':>8}" + "".join(f"{_name(share):>10}" for share in SHARES)
    rows = [
        f"{name:24}{len(values):>8}"
        + "".join(f"{percentile(values, share) * 1000:>8.0f}ms" for share in SHARES)
        for name, values in series.items()
        if values
    ]
    return "\n".join([head, *rows])


def _name(share: float) -> str:
    return "max" if share == 1.0 else f"p{share * 100:g}"


def plot(series: dict[str, list[float]]) -> str:
    """An SVG: the share of requests over the seconds they took, a line a series."""
    found = {name: sorted(values) for name, values in series.items() if values}
    longest = max((values[-1] for values in found.values()), default=1.0) or 1.0
    view = f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {view}><rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
    ]
    across, down = WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN
    for tenth in range(0, 11, 2):
        x, y = MARGIN + across * tenth / 10, HEIGHT - MARGIN - down * tenth / 10
        parts.append(
            f'<path d="M{MARGIN} {y:.0f}h{across}" stroke="#ddd"/>'
            f'<text x="{MARGIN - 36}" y="{y + 4:.0f}">{tenth * 10} %</text>'
            f'<text x="{x - 12:.0f}" y="{HEIGHT - MARGIN + 18}">{longest * tenth / 10:.2f} s</text>'
        )
    for number, (name, values) in enumerate(found.items()):
        steps = [percentile(values, share / 200) for share in range(201)]
        points = " ".join(
            f"{MARGIN + across * value / longest:.1f},{HEIGHT - MARGIN - down * share / 200:.1f}"
            for share, value in enumerate(steps)
        )
        colour = COLOURS[number % len(COLOURS)]
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
            f'<text x="{MARGIN + 160 * number}" y="{MARGIN - 24}" fill="{colour}">{name}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"
