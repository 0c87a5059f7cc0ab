"""Embedding losses: y_pred holds the embeddings of the texts of a row, [B, C, D]."""
