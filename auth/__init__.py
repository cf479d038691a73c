"""Credentials: where they are kept and which headers they become."""
