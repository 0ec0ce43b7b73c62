"""Training: configuration, losses, the Lightning modules of each procedure, and the run folder they leave."""
