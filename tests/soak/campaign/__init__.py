"""A random walk over the whole system on this machine, whose history is held to the promises."""
