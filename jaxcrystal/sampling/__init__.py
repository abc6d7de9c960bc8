"""Orders, runner and writers."""
