"""TF-Ranking's Keras API: `losses`, `metrics` and `utils`."""

from ml4ir_losses.compat.tf_ranking.keras import losses, metrics, utils

__all__ = ["losses", "metrics", "utils"]
