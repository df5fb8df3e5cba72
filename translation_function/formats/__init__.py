"""Formats of models' files: checkpoints, and one module for each kind of tokenizer that has no library."""
