"""What people look at: gallery, report, plots, tables."""
