"""Resolve, lock, fetch and install the wheels of a target."""
