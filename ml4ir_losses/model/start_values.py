"""Start values of encoders from the training texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import ConfigError, UserError
from ml4ir_losses.model.text_layers import BagOfWords, inner_encoder

SIZE = 0.05  # root mean square of the word embeddings, close to that of Keras' random initializer


def lsi(
    documents: Sequence[Sequence[int]], vocabulary_size: int, dims: int, *, log_frequency: bool = False, seed: int = 0
) -> tuple[Array, Array]:
    """Latent semantic indexing: word embeddings [V, dims] with root mean square 0.05, and idf [V].

    tf-idf of the documents, each of length 1, is U S W^T in its `dims` largest singular values; the vectors are the
    rows of W. idf = ln((1 + documents) / (1 + documents with the word)) + 1.

    Args:
        documents: token ids; 0 and 1, padding and unknown words, are ignored. They and words without a document get a
            zero vector and the lowest idf, 1.
        vocabulary_size: V, one more than the highest id.
        dims: number of singular values.
        log_frequency: weight a word that occurs c times by 1 + ln c instead of c.
        seed: random seed of the decomposition.

    Raises:
        UserError: if `dims` exceeds the rank of the documents.

    Source: Deerwester et al., "Indexing by latent semantic analysis" (1990); Halko et al., "Finding structure with
    randomness" (2011).
    """
    from scipy.sparse import csr_array
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfTransformer

    ids = np.fromiter(chain.from_iterable(documents), dtype="int64")
    rows = np.repeat(np.arange(len(documents)), [len(document) for document in documents])
    known = ids > 1
    # Duplicate entries are summed.
    counts = csr_array((np.ones(known.sum()), (rows[known], ids[known])), shape=(len(documents), vocabulary_size))
    max_dims = min(len(np.unique(rows[known])), len(np.unique(ids[known])))
    if dims <= max_dims:
        tfidf = TfidfTransformer(sublinear_tf=log_frequency)
        svd = TruncatedSVD(dims, random_state=seed).fit(tfidf.fit_transform(counts))
        # Components with a singular value of 0 are noise.
        max_dims = int((svd.singular_values_ > 1e-6 * svd.singular_values_[0]).sum())
    if dims > max_dims:
        raise UserError(
            f"`embedding_dim` must be at most {max_dims} for initial='lsi' on these texts. Received: {dims}."
        )
    has_document = np.isin(np.arange(vocabulary_size), ids[known])
    vectors = np.where(has_document[:, None], svd.components_.T, 0.0)
    return vectors * (SIZE / np.sqrt(np.mean(vectors**2))), np.where(has_document, tfidf.idf_, 1.0)


def start_encoders(encoders: Iterable[Any], documents: Iterable[Sequence[int]], seed: int) -> None:
    """Sets the word embeddings of encoders with `initial: lsi` to LSI vectors, and their word weights to idf.

    Without word weights the vectors are multiplied by idf, so that their mean is the LSI vector of the document.

    Raises:
        ConfigError: if `dims` exceeds the rank of the documents.
    """
    bags = [encoder for encoder in map(inner_encoder, encoders) if isinstance(encoder, BagOfWords)]
    lsi_encoders = [encoder for encoder in bags if encoder.initial == "lsi"]
    if not lsi_encoders:
        return
    first = lsi_encoders[0]  # both towers have the same config
    size, dims = first.config["vocabulary_size"], first.config["embedding_dim"]
    try:
        vectors, idf = lsi(list(documents), size, dims, log_frequency=first.log_frequency, seed=seed)
    except UserError as error:
        raise ConfigError(f"model.architecture.encoder: {error}") from None
    for encoder in lsi_encoders:
        if encoder.importance is None:
            encoder.words.embeddings.assign(vectors * idf[:, None])
        else:
            encoder.words.embeddings.assign(vectors)
            encoder.importance.embeddings.assign(np.log(np.expm1(idf))[:, None])
