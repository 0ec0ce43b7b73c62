"""Networks, their table of names, and the model file that carries their weights and card."""
