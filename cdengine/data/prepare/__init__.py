"""Raw rasters and labels in, a data set of patches with spatially disjoint splits out."""
