"""sentence-transformers' losses: `cross_encoder` holds those on scores, `losses` those on embeddings."""
