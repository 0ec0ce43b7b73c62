"""Images made by procedure, with truth: scenes that look real, and plain textures of any size."""
