"""sentence-transformers' losses: `cross_encoder` holds those on scores."""
