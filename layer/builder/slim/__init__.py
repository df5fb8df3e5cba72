"""Patch, prune, trace and strip installed packages."""
