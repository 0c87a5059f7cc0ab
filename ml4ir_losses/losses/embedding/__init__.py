"""Embedding losses: y_pred holds the embeddings of a row's texts, [B, C, D]."""
