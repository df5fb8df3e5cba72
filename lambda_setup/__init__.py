"""The operator's commands: run, fill and look at a function and its buckets."""
