"""Prepared structures on the host: preparation, data sets, batches, letters."""
