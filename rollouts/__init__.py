"""Stored threads: one append-only JSON lines file a thread, in the layout and form of Codex 0.169."""
