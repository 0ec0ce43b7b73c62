"""What is timed: `python -m benchmarks.run` (or `make bench`) runs all of it."""
