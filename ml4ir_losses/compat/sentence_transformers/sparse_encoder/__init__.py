"""sentence-transformers' losses of sparse embeddings: `losses`."""

from ml4ir_losses.compat.sentence_transformers.sparse_encoder import losses

__all__ = ["losses"]
