"""Folders of Hugging Face's models: recognised by their settings, or refused by name."""
