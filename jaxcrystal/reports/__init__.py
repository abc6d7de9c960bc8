"""Output for people: gallery, report, plots, tables."""
