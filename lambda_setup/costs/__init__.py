"""What AWS bills for a function."""
