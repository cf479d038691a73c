"""The program that writes a patch: `python -I -S -E patch_main.py < PATCH`, in the folder the paths start from.

Runs inside the sandbox with an empty environment and without site-packages. Prints the summary and exits 0, or
prints the error to standard error and exits 1 (2: called with arguments).
"""

from __future__ import annotations

import os
import sys

__all__ = ["main"]


def main() -> int:
    if len(sys.argv) > 1:
        sys.stderr.write("usage: patch_main.py < PATCH\n")
        return 2
    # -I leaves this file's own tree off the path; behind the standard library, so that it shadows nothing
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    if root not in sys.path:
        sys.path.append(root)
    from workers.tools.patch_apply import apply, verify  # noqa: PLC0415 - the path is complete only now
    from workers.tools.patch_grammar import PatchError, PatchSyntaxError, parse  # noqa: PLC0415 - as above

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


if __name__ == "__main__":
    sys.exit(main())
