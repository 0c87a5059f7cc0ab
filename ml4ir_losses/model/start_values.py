"""Start values of encoders from the training texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import ConfigError, UserError
from ml4ir_losses.model.text_layers import BagOfWords

SIZE = 0.05  # root mean square of the numbers of the words' vectors, near that of Keras' random start


def lsi(
    documents: Sequence[Sequence[int]], vocabulary_size: int, dims: int, *, log_frequency: bool = False, seed: int = 0
) -> tuple[Array, Array]:
    """Latent semantic indexing: vectors [V, dims] of the words, of root mean square 0.05, and their idf [V].

    tf-idf of the documents, each of length 1, is U S W^T in its `dims` largest singular values; the vectors are the
    rows of W. idf = ln((1 + documents) / (1 + documents with the word)) + 1.

    Args:
        documents: token ids; 0 and 1, padding and unknown words, stand for no word. Their vectors are 0 and their idf
            is 1, the lowest, as that of all words without a document.
        vocabulary_size: V, one more than the highest id.
        dims: how many singular values.
        log_frequency: a word that comes c times in a document counts 1 + ln c, else c.
        seed: of the randomised decomposition.

    Raises:
        UserError: where the documents allow fewer dimensions.

    Source: Deerwester et al., "Indexing by latent semantic analysis" (1990); Halko et al., "Finding structure with
    randomness" (2011).
    """
    from scipy.sparse import csr_array
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfTransformer

    ids = np.fromiter(chain.from_iterable(documents), dtype="int64")
    rows = np.repeat(np.arange(len(documents)), [len(document) for document in documents])
    known = ids > 1
    # Equal entries add up.
    counts = csr_array((np.ones(known.sum()), (rows[known], ids[known])), shape=(len(documents), vocabulary_size))
    most = min(len(np.unique(rows[known])), len(np.unique(ids[known])))
    if dims <= most:
        weighing = TfidfTransformer(sublinear_tf=log_frequency)
        svd = TruncatedSVD(dims, random_state=seed).fit(weighing.fit_transform(counts))
        # What a singular value of 0 leaves is noise.
        most = int((svd.singular_values_ > 1e-6 * svd.singular_values_[0]).sum())
    if dims > most:
        raise UserError(f"`embedding_dim` must be at most {most} for initial='lsi' on these texts. Received: {dims}.")
    seen = np.isin(np.arange(vocabulary_size), ids[known])
    vectors = np.where(seen[:, None], svd.components_.T, 0.0)
    return vectors * (SIZE / np.sqrt(np.mean(vectors**2))), np.where(seen, weighing.idf_, 1.0)


def start_encoders(encoders: Iterable[Any], documents: Iterable[Sequence[int]], seed: int) -> None:
    """Gives the encoders with `initial: lsi` their words' vectors, and idf for weights of the words.

    Without weights of their own the vectors are multiplied by idf: the mean is then what LSI makes of a document.

    Raises:
        ConfigError: where the documents allow fewer dimensions.
    """
    asking = [encoder for encoder in encoders if isinstance(encoder, BagOfWords) and encoder.initial == "lsi"]
    if not asking:
        return
    first = asking[0]  # two towers are of one config
    size, dims = first.config["vocabulary_size"], first.config["embedding_dim"]
    try:
        vectors, idf = lsi(list(documents), size, dims, log_frequency=first.log_frequency, seed=seed)
    except UserError as error:
        raise ConfigError(f"model.architecture.encoder: {error}") from None
    for encoder in asking:
        if encoder.importance is None:
            encoder.words.embeddings.assign(vectors * idf[:, None])
        else:
            encoder.words.embeddings.assign(vectors)
            encoder.importance.embeddings.assign(np.log(np.expm1(idf))[:, None])
