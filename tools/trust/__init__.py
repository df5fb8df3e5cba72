"""Locks, audits, releases, and how much tests notice."""
