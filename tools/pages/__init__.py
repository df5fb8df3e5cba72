"""The generated pages, parts of pages, and charts, each made of its data."""
