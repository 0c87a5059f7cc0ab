"""sentence-transformers' losses: those on scores in `cross_encoder`, those on embeddings in `losses`."""

from ml4ir_losses.compat.sentence_transformers import cross_encoder, losses, sparse_encoder

__all__ = ["cross_encoder", "losses", "sparse_encoder"]
