"""Models: described, converted, uploaded, moved between channels and downloaded."""
