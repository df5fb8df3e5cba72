"""Check how documents are written, by rules that are data."""
