"""Training step, loop and checkpoints."""
