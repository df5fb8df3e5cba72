"""The README's picture of the demo: a terminal, drawn of a recorded run."""
