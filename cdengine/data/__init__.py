"""Data sets on disk and in memory: layouts, labels, torch data sets, augmentation, statistics, making of patches."""
