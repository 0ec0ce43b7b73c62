"""Losses, one file a family.

Each is a function of logits, target and validity that gives a scalar; pixels without validity or label take no part,
and a batch without a single labelled pixel gives 0. Sums run over all processes of a distributed run, so that N
processes minimise what one process with the N-fold batch would (the exceptions say so).
"""
