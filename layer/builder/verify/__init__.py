"""Whether the slim tree still answers the same, and would load in the runtime."""
