"""What takes too long for every change, and runs before a release: ``make soak``."""
