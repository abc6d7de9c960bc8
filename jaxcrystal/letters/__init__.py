"""Wyckoff letters of known crystals: how often, and of which elements."""
