"""Architectures by key, one module each: functions that name their parameters and build a Keras layer.

Two kinds, by the trait `reads`:

* `features` (the default): a scorer of documents. `layer(x, mask, training=...)` takes the encoded features [B, N, F]
  and the mask [B, N] (None: no padding) and returns logits [B, N], or [B, N, K] for a loss of K logits. A function with
  the parameter `outputs` receives K (None: it chooses K) and fits every loss; the others fit losses of one logit.
  The trait `per_document` says that the logits of a document do not depend on the other documents of its list.
  The trait `model_class` names a model class other than `RelevanceModel`, as "module:Class";
  "ml4ir_losses.model.cross_encoder:CrossEncoderModel" is for a layer that reads an input of type text_pair.
* `texts`: `layer({column: token ids [B, T]}, training=...)` returns embeddings [B, C, D] of the C columns, in the order
  anchor, positive, negative_1, ...; its attribute `output_width` is D. The trait `heads` names the heads of the losses
  that it trains, "" for a loss that reads the embeddings themselves. `layer.encoders` lists the
  layers from token ids to embeddings, if they can start from the weights of another run.

A function receives, if it has parameters of these names, `dtype`, `vocabulary_size`, `max_length` (tokens per text),
`every_layer` (the loss reads [B, C, L, D], the embeddings of every layer) and `tie` (share the word embeddings).
"""
