"""A server of runs over HTTP: ranking, embedding, search and explanations."""
