"""Which wheels a target gets: resolved, locked, fetched and installed."""
