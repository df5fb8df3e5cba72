"""The site of the pages: which pages there are, where they lie in it, and how links lead there."""
