"""The files that make up a thread: a fork or a revert goes on from a point in another file.

base, up to an ordinal and a byte ── fork or revert, up to another ── ... ── the thread's present
"""

from __future__ import annotations

from pathlib import Path

from rollouts.errors import RolloutDamaged
from rollouts.layout import home_of, parse_name
from rollouts.lines import HistoryBase, SessionMeta, decode_as, decode_line

__all__ = ["chain_of", "cut_at", "parts_of", "read_meta"]

# A chain of reverts and forks longer than this is taken for a ring.
_MAX_CHAIN = 256
# session_meta is the first line; junk before it is forgiven up to here.
_META_WITHIN = 64
_BUFFER = 1 << 20


def read_meta(path: Path) -> SessionMeta:
    """The first line of a rollout.

    Raises:
        RolloutDamaged: there is no session_meta where one must be.
        OSError
    """
    return _read_meta(path)[0]


def _read_meta(path: Path) -> tuple[SessionMeta, int | None]:
    with open(path, "rb") as file:
        for _, raw in zip(range(_META_WITHIN), file, strict=False):
            line = decode_line(raw)
            if line is not None and line.type == "session_meta":
                meta = decode_as(SessionMeta, line.payload)
                if meta is not None:
                    return meta, line.ordinal
    raise RolloutDamaged(f"rollout {path} has no session metadata")


def chain_of(path: Path, meta: SessionMeta) -> list[tuple[Path, HistoryBase]]:
    """The files this one builds on, oldest first, each with where to stop in it.

    Raises:
        RolloutDamaged: one of them is missing, or builds on itself.
        OSError
    """
    home, chain = home_of(path), list[tuple[Path, HistoryBase]]()
    base = meta.history_base
    while base is not None:
        found = home.find_segment(base.thread_id)
        if found is None:
            raise RolloutDamaged(f"rollout {path} builds on {base.thread_id}, which is missing")
        if len(chain) >= _MAX_CHAIN:
            raise RolloutDamaged(f"rollout {path} builds on itself")
        chain.append((found, base))
        base = read_meta(found).history_base
    return chain[::-1]


def parts_of(path: Path) -> list[tuple[Path, int | None]]:
    """All files of a thread, oldest first, each with the byte to stop at. Raises as `chain_of`."""
    below = [(part, base.end_byte_offset) for part, base in chain_of(path, read_meta(path))]
    return [*below, (path, None)]


def cut_at(path: Path, ordinal: int) -> HistoryBase | None:
    """A base that holds of this thread what stands before `ordinal`; None where that is nothing at all.

    Raises:
        RolloutDamaged, OSError
    """
    meta = read_meta(path)
    for part in [path, *(found for found, _ in reversed(chain_of(path, meta)))]:
        part_meta, first = _read_meta(part)
        if first is None:
            raise RolloutDamaged(f"rollout {part} is paginated but has no ordinals")
        # A file whose first line alone would be left adds nothing to what it builds on.
        if first + 1 < ordinal:
            return HistoryBase(
                thread_id=_segment_id(part),
                end_ordinal_exclusive=ordinal,
                end_byte_offset=_offset(part, ordinal),
            )
        if part_meta.history_base is None:
            return None
    return None


def _offset(path: Path, ordinal: int) -> int:
    """Where the first line of at least this ordinal begins, or the last whole line ends."""
    offset = 0
    with open(path, "rb", buffering=_BUFFER) as file:
        for raw in file:
            line = decode_line(raw)
            if not raw.endswith(b"\n") or (
                line is not None and line.ordinal is not None and line.ordinal >= ordinal
            ):
                break
            offset += len(raw)
    return offset


def _segment_id(path: Path) -> str:
    name = parse_name(path.name)
    if name is None:
        raise RolloutDamaged(f"rollout {path} has a name that no other can point at")
    return name.segment_id
