"""Validity, fingerprints, metrics and matching."""
