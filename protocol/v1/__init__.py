"""The protocol as it was before threads: conversations, and events as the core of the peer made them (release 0.58).

Old clients speak it. It is served by a layer over the methods of today (`supervisor/v1/`); nothing else knows of it.
"""
