"""Polygons: traced from strips of pixels, shaped, measured on the ellipsoid, written to files; areas of interest."""
