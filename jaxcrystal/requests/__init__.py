"""What to sample: orders, formulas and their assignments, plans."""
