"""An old release and this one on both sides of a model bucket."""
