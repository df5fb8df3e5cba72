"""What the builder says about a layer: JSON, a table, a page."""
