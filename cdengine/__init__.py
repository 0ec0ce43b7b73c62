"""Remote-sensing change detection: two images of one place in, georeferenced change layers out."""

__version__ = "0.1.0"
