"""Structure files of other programs, and arrays."""
