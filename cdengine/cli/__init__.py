"""The command line: one small file per command, thin over the Python functions."""
