"""The program that writes a patch, in the folder the paths start from; `patch_program` starts it.

Runs inside the sandbox with an empty environment and without site-packages. Reads the patch from standard input.
Prints the summary and exits 0, or prints the error to standard error and exits 1.
"""

from __future__ import annotations

import os
import sys

from .patch_apply import apply, verify
from .patch_grammar import PatchError, PatchSyntaxError, parse

__all__ = ["main"]


def main() -> int:
    try:
        try:
            text = sys.stdin.buffer.read().decode()
        except UnicodeDecodeError:
            raise PatchSyntaxError("the text is not valid UTF-8") from None
        summary = apply(verify(parse(text), os.getcwd()))
    except PatchError as error:
        sys.stderr.buffer.write(f"{error}\n".encode(errors="surrogateescape"))
        return 1
    sys.stdout.buffer.write(summary.encode(errors="surrogateescape"))
    return 0
