"""Rasters: one grid, two dates, validity, and writers that never leave a broken file."""
