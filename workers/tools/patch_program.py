"""How the patch program is started: its code, compiled here once, goes ahead of the patch on standard input.

A start of its own from files would look for them, and compile them anew wherever their cache cannot be written. The
interpreter starts from its real path, since one in a virtual environment looks for that first; it needs no packages.
"""

from __future__ import annotations

import marshal
import os
import sys
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec

from workers.tools.patch_undo import Step

__all__ = ["patch_argv", "patch_input", "undo_input"]

PACKAGE = "workers.tools"
MODULES = ("patch_grammar", "patch_match", "patch_undo", "patch_write", "patch_apply", "patch_main")
"""Each after those it imports; the last is the program."""
LOADER = """\
import sys, marshal
size = int(sys.argv.pop())
for name, code in marshal.loads(sys.stdin.buffer.read(size)):
    module = sys.modules[name] = type(sys)(name)
    module.__package__ = %r
    exec(code, module.__dict__)
sys.exit(module.main())
"""


@lru_cache(maxsize=1)
def _image() -> bytes:
    """The modules' code for this very interpreter. Raises ImportError where there is none."""
    parts = []
    for name in MODULES:
        spec = find_spec(f"{PACKAGE}.{name}")
        loader = spec.loader if spec is not None else None
        code = getattr(loader, "get_code", lambda _: None)(f"{PACKAGE}.{name}")
        if code is None:
            raise ImportError(f"no code of {PACKAGE}.{name}")
        parts.append((f"{PACKAGE}.{name}", code))
    return marshal.dumps(parts)


def patch_argv() -> list[str]:
    """The command that reads `patch_input` or `undo_input`: isolated, without site-packages, without an environment."""
    return [os.path.realpath(sys.executable), "-I", "-S", "-E", "-c", LOADER % PACKAGE, str(len(_image()))]


def patch_input(text: str | bytes, token: str = "", steps: Sequence[Step] | None = None) -> bytes:
    """What makes the program apply a patch; `token` and `steps` as of `patch_apply.apply`."""
    data = text.encode() if isinstance(text, str) else text
    return _image() + marshal.dumps(("apply", token, _plain(steps), data))


def undo_input(token: str, steps: Sequence[Step]) -> bytes:
    """What makes it put back what it has left half done when it was ended."""
    return _image() + marshal.dumps(("undo", token, _plain(steps), b""))


def _plain(steps: Sequence[Step] | None) -> list[tuple[str, str, str, bool]] | None:
    return None if steps is None else [(step.path, step.base, step.new, step.old) for step in steps]
