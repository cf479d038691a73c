"""The wire between server and workers has a number that counts its changes."""

from __future__ import annotations

import hashlib

from protocol import link
from workers.zygote import Fork, Spec

KNOWN = {1: "e2adfbcc6c73dbc3", 2: "a75bed1482fb1e27"}
"""What the number stood for. A change of what is below needs a new number (`protocol.link.WIRE`) and an entry here: a server
that was started before an upgrade would misread the workers of the new code."""


def test_the_wire_has_a_number_of_its_own():
    heads = [link.HEAD.format, link.RECORD.format, link.HIBERNATED]
    kinds = [
        f"{kind.__name__}.{each.name}={each.value}" for kind in (link.Frame, link.Record) for each in kind
    ]
    fields = [
        f"{kind.__name__}.{name}: {annotation}"
        for kind in (link.Adopt, link.Command, link.StopOrder, Spec, Fork)
        for name, annotation in kind.__annotations__.items()
    ]
    digest = hashlib.sha256("\n".join(map(str, [*heads, *kinds, *fields])).encode()).hexdigest()[:16]
    assert KNOWN.get(link.WIRE) == digest, f"the wire is now {digest}"
