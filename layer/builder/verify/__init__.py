"""Verify that the slim tree answers the same, and would load in the runtime."""
