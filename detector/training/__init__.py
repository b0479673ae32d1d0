"""Training: recipes, the loop, its optimizers and checkpoints, heads on frozen features, and the released models."""

# ruff: noqa: F401 - re-exported

from detector.training.embeddings import read_embeddings
from detector.training.native import train_native
