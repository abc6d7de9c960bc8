"""Readers, preparation and batches."""
