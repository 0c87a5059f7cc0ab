"""Architectures by key, one module each: functions that name their parameters and build a Keras layer.

Three kinds, by the trait `reads`:

* `features` (the default): a scorer of documents. `layer(x, mask, training=...)` takes the encoded features [B, N, F]
  and the mask [B, N] (None: no padding) and returns logits [B, N], or [B, N, K] for a loss of K logits. A function with
  the parameter `outputs` receives K (None: it chooses K) and fits every loss; the others fit losses of one logit.
  The trait `per_document` says that the logits of a document do not depend on the other documents of its list.
* `texts`: `layer({column: token ids [B, T]}, training=...)` returns embeddings [B, C, D] of the C columns, in the order
  anchor, positive, negative_1, ...; its attribute `output_width` is D. The trait `heads` names the heads of the losses
  that it trains, "" for a loss that reads the embeddings themselves. `layer.encoders` lists the
  layers from token ids to embeddings, if they can start from the weights of another run.
* `pairs`: `layer(token ids [R, T], features [R, F] or None, training=...)` returns logits [R], or [R, K], of R pairs
  of a query and a document; `layer.encoder` maps the token ids to embeddings. The texts are columns of a text config,
  or an input of type text_pair beside other features.

The trait `model_class` names a model class other than the default of the kind, as "module:Class".

A function receives, if it has parameters of these names, `dtype`, `features` (a list of `EncodedFeature`: which values
belong to a column, and which columns describe the query), `vocabulary_size`, `max_length` (tokens per text),
`every_layer` (the loss reads [B, C, L, D], the embeddings of every layer), `reconstructs` (the loss reads the outputs
of a sparse auto-encoder) and `tie` (share the word embeddings).
"""
