"""New functions: copies of those that work, and blanks for networks in well-known forms."""
