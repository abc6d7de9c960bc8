"""Structures on the host: readers, preparation, batches, letters, file formats."""
