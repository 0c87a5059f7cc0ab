"""Ranking metrics by key, one module each: pure functions over a batch of queries.

Every metric is `fn(labels, scores, mask=None, *, item_weight=None, ...) -> (values, weights)`. `values` [B] holds the
metric of each query, `weights` [B] the weight of the query in the mean: Σ values·weights / Σ weights. Parameters that
the metrics share:

    labels: [B, N]. The binary metrics count a document as relevant if its label is at least `relevance_threshold`.
    scores: [B, N], ranked from high to low; NaN comes last. A score of -inf means "not retrieved": the document has no
        rank and adds nothing to the metric at any cutoff, but counts in denominators over all relevant documents
        (recall, average precision, the ideal DCG).
    mask: [B, N], 1 = document, 0 = padding, whose labels, scores and weights are ignored. None: no padding.
    item_weight: [B, N]. Weight 0 removes the document from the ranking; those below it move up.
    topn: the cutoff; ranks below it do not count. None: all ranks count.
    ties: what documents with equal scores count. `average`: the exact expected value over all their orders, which are
        equally likely (McSherry and Najork 2008); `worst`: the lowest value (of `arp` the highest), that of the order
        by ascending relevance, if discounts fall; `order`: the value of the order in which the documents are given,
        which may favour a model without an opinion. Scores are compared as float32. Smooth ranks have no ties.
    relevance_threshold: the lowest label that is relevant.
    rank_fn: makes the metric smooth, see `ml4ir_losses.ops.soft_ranks`. None: exact ranks, no gradient.
    empty_queries: the value of a query without a relevant document. `skip`: it does not count (weight 0);
        `zero`, `one`: it counts with that value. A query that is all padding never counts.

The weight of a query is Σ w·R / ΣR, where R is the relevance that the metric measures (0 or 1, or the gain), and the
mean weight of its documents if it has none. Average relevance position and ordered pair accuracy are means over
documents and pairs instead: their weights are Σ w·y and Σ w over the pairs. All functions raise `ValueError` for an
invalid parameter value. They follow TF-Ranking 0.5.5, except for its weights of queries without relevance, which depend
on the rest of the batch, and for its order of ties, which is random: the expected value is the mean of its values.

A metric is registered with `register_metric`. Traits: `lower_is_better=True` for a metric that is to be minimized,
`subtopics=True` for labels [B, N, S], one per document and subtopic.
"""
