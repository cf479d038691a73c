"""The program that writes a patch, in the folder the paths start from; `patch_program` starts it.

Runs inside the sandbox with an empty environment and without site-packages. Reads what to do from standard input:
to apply a patch, or to put back what an earlier run of it left half done. Prints the summary and exits 0, or prints
the error to standard error and exits 1.
"""

from __future__ import annotations

import marshal
import os
import sys

from .patch_apply import apply, verify
from .patch_grammar import PatchError, PatchSyntaxError, parse
from .patch_undo import Step, undo_dead

__all__ = ["APPLIED", "BUSY", "LOST", "main"]

BUSY = 3
"""Nothing was put back: the program that applies the patch is still alive."""
APPLIED = 4
"""There was nothing to be put back, since it had come to its end."""
LOST = 5
"""Files that somebody else has changed meanwhile, named on standard error, were left as they are."""


def main() -> int:
    verb, token, plain, data = marshal.loads(sys.stdin.buffer.read())  # noqa: S302 - from who gave us our code
    steps = None if plain is None else tuple(Step(*fields) for fields in plain)
    if verb == "undo":
        return _undo(token, steps or ())
    try:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise PatchSyntaxError("the text is not valid UTF-8") from None
        summary = apply(verify(parse(text), os.getcwd()), token, steps)
    except PatchError as error:
        sys.stderr.buffer.write(f"{error}\n".encode(errors="surrogateescape"))
        return 1
    sys.stdout.buffer.write(summary.encode(errors="surrogateescape"))
    return 0


def _undo(token: str, steps: tuple[Step, ...]) -> int:
    try:
        applied, lost = undo_dead(token, steps)
    except BlockingIOError:
        return BUSY
    if applied:
        return APPLIED
    sys.stderr.buffer.write("".join(f"{path}\n" for path in lost).encode(errors="surrogateescape"))
    return LOST if lost else 0
