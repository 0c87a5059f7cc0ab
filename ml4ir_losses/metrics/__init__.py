"""Metrics: `ranking` holds those of scored documents, `retrieval` those of rankings of document ids."""
