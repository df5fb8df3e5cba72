"""Results as people look at them: tables, pictures, a page for a browser, and a playground."""
