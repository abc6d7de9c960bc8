"""Neighbour search and the multigraph of inequivalent sites."""
