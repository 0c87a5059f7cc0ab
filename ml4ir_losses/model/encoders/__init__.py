"""Encoders by key, one module each: functions that name their parameters and build a Keras layer.

The layer maps token ids [N, T], padded with 0, to one vector per text, [N, D]; its attribute `output_width` is D. The
amount of padding does not change a vector; a text without tokens yields the zero vector. A function receives
`vocabulary_size` and `dtype` if it has parameters of these names.

With `token_states(tokens, training) -> [N, T, width]`, `width` and `word_embeddings` [V, E] an encoder may stand within
`splade`. An attribute `sparse` that is true says that most entries of an embedding are 0. A function with the parameter
`reconstructs` builds a layer that, where it is true, returns the outputs that the loss `csr` reads.

The trait `make_tokenizer`, `(parameters of the encoder, max_length) -> Tokenizer`, is for an encoder with its own
tokenizer; the other encoders use a word tokenizer that is fitted on the training texts.
"""
