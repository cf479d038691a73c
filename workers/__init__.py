"""The worker: one thread's life in a process of its own, and the zygote it is forked from."""

import sys

# httpx brings a command line of its own where click and rich are installed: 90 ms and 6 MiB that no worker needs.
# It takes the absence of this module for the absence of click.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # None is how an import is refused
