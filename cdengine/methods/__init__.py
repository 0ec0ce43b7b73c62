"""Training-free detectors: statistics of change, their automatic thresholds, and probabilities from them."""
