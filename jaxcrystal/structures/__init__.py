"""Finished crystals: checks, folders, duplicates, screening."""
