"""Encoders by key, one module each: functions that name their parameters and build a Keras layer.

The layer goes from token ids [N, T], 0 being padding, to one vector a text, [N, D]; its attribute `output_width` is D.
Whatever is padded, or how far, changes no vector; a text without a token is the zero vector. A function gets those of
`vocabulary_size` and `dtype` that it names.

The trait `make_tokenizer`, `(parameters of the encoder, max_length) -> Tokenizer`, is for an encoder that reads the ids
of a tokenizer of its own; the others read words of the training texts.
"""
