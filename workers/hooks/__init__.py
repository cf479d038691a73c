"""Hooks: the user's programs, run at certain points of a thread's life."""
