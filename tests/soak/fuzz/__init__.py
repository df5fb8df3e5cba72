"""Whatever somebody else wrote is read, or refused in the reader's own words: hypothesis tries."""
