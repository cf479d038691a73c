"""The mounts that make a `View` true, as bubblewrap arguments."""

from __future__ import annotations

from collections.abc import Iterator

from sandbox_backends.view import Protected, View, inside

__all__ = ["mounts"]


def _between(top: str, path: str) -> Iterator[str]:
    """The directories strictly between `top` and `path`, deepest first."""
    here = path.rpartition("/")[0]
    while len(here) > len(top):
        yield here
        here = here.rpartition("/")[0]


def _protect(item: Protected) -> tuple[str, ...]:
    if item.kind == "missing":
        return ("--perms", "555", "--tmpfs", item.path, "--remount-ro", item.path)
    return ("--ro-bind", item.path, item.path)


def mounts(view: View) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(arguments, ghosts): one operation per path, shallow before deep, so that the more specific rule wins.

    Every directory between a writable root and something special below it is bound onto itself. A mount point cannot
    be renamed (EBUSY), so a command cannot move the parent of a protected path away and plant a tree of its own under
    the old name, nor swap the parent of another root between two commands.
    `ghosts` are the mount points that do not exist yet.
    """
    tops = [root.path for root in view.roots]
    special: dict[str, tuple[str, ...]] = {path: ("--bind", path, path) for path in tops}
    ghosts: list[str] = []
    for root in view.roots:
        for item in root.protected:
            if item.path in tops:
                continue
            special[item.path] = _protect(item)
            if item.kind == "missing":
                ghosts.append(item.path)
    for mask in view.masked:
        special[mask.path] = (
            ("--perms", "000", "--tmpfs", mask.path)
            if mask.kind == "dir"
            else ("--ro-bind", "/dev/null", mask.path)
        )
    operations = dict(special)
    for path in special:
        over = [top for top in tops if top != path and inside(path, top)]
        if over:
            for parent in _between(min(over, key=len), path):
                # Inside something protected nothing can be moved, and a writable bind would open it.
                if not any(inside(parent, other) for other in special if other not in tops):
                    operations.setdefault(parent, ("--bind", parent, parent))
    ordered = sorted(operations, key=lambda path: (path.count("/"), path))
    return tuple(word for path in ordered for word in operations[path]), tuple(ghosts)
