"""Forward passes of the scorers in float64, written from the papers with loops over lists, documents and features.

Each takes a built scorer, of which it reads the weights alone, features x [B, N, F] and a mask [B, N].
"""

import math

import numpy as np

from losses.numeric import values


def weights(layer):
    return [values(weight) for weight in layer.trainable_variables]


def normalised(x, layer, epsilon=1e-6):
    gamma, beta = weights(layer)
    return gamma * (x - x.mean()) / math.sqrt(x.var() + epsilon) + beta


def gelu(x):
    return np.array([z * 0.5 * (1.0 + math.erf(z / math.sqrt(2.0))) for z in x])


def softmax(x):
    exps = np.exp(x - np.max(x))
    return exps / exps.sum()


def perceptron(x, hidden):
    """The hidden layers with ReLU, of one document."""
    parts = weights(hidden)
    for kernel, bias in zip(parts[::2], parts[1::2], strict=True):
        x = np.maximum(x @ kernel + bias, 0.0)
    return x


def attention(documents, layer):
    """Self-attention over documents [n, D], head by head."""
    query, query_bias, key, key_bias, value, value_bias, output, output_bias = weights(layer)
    _, heads, size = query.shape
    attended = []
    for x in documents:
        total = output_bias.copy()
        for h in range(heads):
            q = x @ query[:, h] + query_bias[h]
            keys = [y @ key[:, h] + key_bias[h] for y in documents]
            shares = softmax(np.array([q @ k / math.sqrt(size) for k in keys]))
            mixed = sum(w * (y @ value[:, h] + value_bias[h]) for w, y in zip(shares, documents, strict=True))
            total = total + mixed @ output[h]
        attended.append(total)
    return attended


def set_attention(documents, layer):
    """Representations of the documents of one list, all of them valid."""
    kernel, bias = weights(layer.projection)
    states = [x @ kernel + bias for x in documents]
    for block in layer.blocks:
        attended = attention([normalised(x, block.before_attention) for x in states], block.attention)
        states = [x + a for x, a in zip(states, attended, strict=True)]
        (inner, inner_bias), (outer, outer_bias) = weights(block.inner), weights(block.outer)
        states = [x + gelu(normalised(x, block.before_dense) @ inner + inner_bias) @ outer + outer_bias for x in states]
    return [normalised(x, layer.norm) for x in states]


def set_transformer(scorer, x, mask):
    """Logits [B, N, K]; NaN where masked."""
    kernel, bias = weights(scorer.head)
    logits = np.full((*mask.shape, len(bias)), np.nan)
    for b, n in enumerate(mask.sum(axis=1).astype(int)):
        documents = [d for d, real in zip(x[b], mask[b], strict=True) if real]
        if scorer.config["log1p"]:
            documents = [np.array([math.copysign(math.log(1.0 + abs(v)), v) for v in d]) for d in documents]
        contexts = set_attention(documents, scorer.attention)
        scores = []
        for document, context in zip(documents, contexts, strict=True):
            hidden = perceptron(document, scorer.hidden)
            if scorer.config["latent_cross"]:
                cross, cross_bias = weights(scorer.cross)
                hidden = (1.0 + context @ cross + cross_bias) * hidden
            else:
                hidden = np.concatenate([hidden, context])
            scores.append(hidden @ kernel + bias)
        assert len(scores) == n
        logits[b, mask[b] > 0] = scores
    return logits


def cross_network(x, layer):
    """The cross layers of one document, term by term."""
    parts, rank = weights(layer), layer.config["rank"]
    step = 2 if rank is None else 3
    start = x
    for place in range(0, len(parts), step):
        *down, kernel, bias = parts[place : place + step]
        full = kernel if rank is None else down[0] @ kernel
        x = np.array(
            [
                start[i] * (sum(full[j, i] * x[j] for j in range(len(x))) + bias[i]) + x[i]  # W x_l, then b and x_l
                for i in range(len(x))
            ]
        )
    return x


def deep_cross(scorer, x, mask):
    """Logits [B, N, K] of all documents."""
    kernel, bias = weights(scorer.head)

    def score(document):
        crossed = cross_network(document, scorer.cross)
        if not scorer.config["parallel"]:
            return perceptron(crossed, scorer.hidden) @ kernel + bias
        return np.concatenate([crossed, perceptron(document, scorer.hidden)]) @ kernel + bias

    return np.array([[score(document) for document in documents] for documents in x])


def feature_network(x, networks, j):
    """The network of feature j, which reads its values x."""
    *hidden, (kernel, bias) = [weights(layer) for layer in networks.stack if layer.trainable_variables]
    x = np.concatenate([x, np.zeros(networks.width - len(x))])
    for inner, inner_bias in hidden:
        x = np.maximum(x @ inner[j] + inner_bias[j], 0.0)
    return x @ kernel[j] + bias[j]


def gam_parts(scorer, x):
    """w_j(q) f_j(x_j), [B, N, J]."""
    documents = [f for f in scorer.features if f.scope == "document"]
    queries = [f for f in scorer.features if f.scope == "query"]
    parts = np.zeros((*x.shape[:2], len(documents)))
    for b, n, j in np.ndindex(parts.shape):
        (value,) = feature_network(x[b, n][list(documents[j].positions)], scorer.functions, j)
        weight = 0.0 if queries else 1.0
        for k, feature in enumerate(queries):
            weight += softmax(feature_network(x[b, n][list(feature.positions)], scorer.importance, k))[j]
        parts[b, n, j] = weight * value
    return parts


def gam(scorer, x, mask):
    """Logits [B, N, 1] of all documents."""
    return gam_parts(scorer, x).sum(axis=-1, keepdims=True)
