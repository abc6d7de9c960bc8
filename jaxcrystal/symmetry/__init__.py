"""Space groups, lattice parameters, Wyckoff positions, orbits."""
