"""Imports that patches move to their first use, and the gate that sees what this changes."""
