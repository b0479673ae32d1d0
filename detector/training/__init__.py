"""Training: recipes, the loop, its optimizers and checkpoints, and the released models."""
