"""Which crystals could exist: relaxed with a potential, and placed on the hull of known ones."""
