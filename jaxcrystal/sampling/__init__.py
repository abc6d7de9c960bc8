"""The sampler: batches, compiled programs, the stream of samples, the run folder."""
