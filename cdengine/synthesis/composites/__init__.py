"""Change pairs composed of single-date images, cut-outs, drawn buildings and rendered scenes, with their truth."""
