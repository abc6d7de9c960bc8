"""One self-contained HTML page that shows crystals: rotatable cells, a table, denoising."""
