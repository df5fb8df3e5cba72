"""A built layer's way to AWS."""
