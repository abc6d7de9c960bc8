"""Bases, DimeNet++ and the score network."""
