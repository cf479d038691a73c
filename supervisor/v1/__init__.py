"""The old protocol, as a client of today's protocol that lives inside of the front.

`adapter` is that client: it has a connection like any other, and translates. So conversations have the same order,
supervision, approvals and bounds as threads, and no other module knows that they exist.
"""
