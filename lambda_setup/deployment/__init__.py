"""Where a function runs: a deployed stack, or this machine."""
