"""Running a detector over rasters of any size."""
