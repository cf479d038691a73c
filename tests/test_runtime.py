"""The directories of servers: each its own, from the moment in which it is there."""

from __future__ import annotations

import os
import subprocess
import sys

from running_server import ROOT, runtime_folder

MAKE_MANY = """
from supervisor.runtime import RuntimeDirectory, running_servers
for _ in range(100):
    made = RuntimeDirectory()
    running_servers()
    made.remove()
"""


def test_servers_that_start_at_once_leave_each_other_alone():
    """Each looks for what is left of servers that are gone; one that is being made is not."""
    with runtime_folder() as folder:
        env = {**os.environ, "BULKHEAD_RUNTIME_DIR": str(folder), "PYTHONPATH": str(ROOT)}
        makers = [subprocess.Popen([sys.executable, "-c", MAKE_MANY], env=env) for _ in range(3)]
        assert [maker.wait(60) for maker in makers] == [0, 0, 0]
        assert list(folder.iterdir()) == []
