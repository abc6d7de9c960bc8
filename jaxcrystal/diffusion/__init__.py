"""Noise schedules, noise, loss and Langevin dynamics."""
