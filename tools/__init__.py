"""What maintainers run: writers of docs and charts, and the care of an environment."""
