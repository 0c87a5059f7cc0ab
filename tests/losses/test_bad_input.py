"""Bad input: every error message is one line with the argument, the received value and what is allowed.

Weights, masks, reductions and propensities of a wrong kind are in `test_loss_fn.py`, unknown keys in
`test_registry.py`.
"""

from typing import NamedTuple

import numpy as np
import pytest

from losses.cases import CASES, KEYS, case_of, get_loss
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.registry import LAMBDA_WEIGHTS, WEIGHTING_SCHEMES
from ml4ir_losses.losses.lambda_weights import LabelDiffLambdaWeight, get_lambda_weight
from ml4ir_losses.losses.weighting_schemes import get_weighting_scheme
from selection import each_loss

NAN, INFINITE = float("nan"), float("inf")


class Bad(NamedTuple):
    """The words of the message, and values that are refused."""

    allowed: str
    values: tuple

    def __or__(self, more):
        return Bad(self.allowed, (*self.values, *more))


NO_NUMBER = ("1", "high", "", [1.0], {"key": 1.0}, 1j, True)
POSITIVE = Bad("must be a number above 0.", (0, 0.0, -1.0, NAN, INFINITE, -INFINITE, None, *NO_NUMBER))
NOT_NEGATIVE = Bad("must be a number of at least 0.", (-1, -1e-9, NAN, INFINITE, -INFINITE, None, *NO_NUMBER))
NOT_NEGATIVE_OR_NONE = Bad("must be None or a number of at least 0.", (-1, NAN, INFINITE, *NO_NUMBER))
POSITIVE_OR_NONE = Bad("must be None or a number above 0.", (0, -1.0, NAN, INFINITE, *NO_NUMBER))
FRACTION = Bad("must be a number from 0 to 1.", (-0.1, 1.001, NAN, INFINITE, -INFINITE, None, *NO_NUMBER))
SHARE = Bad("must be a number from 0 to below 1.", (-0.1, 1.0, NAN, INFINITE, None, *NO_NUMBER))
COUNT_OR_NONE = Bad("a whole number of at least 1.", (0, -1, 1.0, 2.5, NAN, INFINITE, *NO_NUMBER))
COUNT = COUNT_OR_NONE | [None]
FLAG = Bad("must be true or false.", (0, 1, 1.0, "true", "", None, []))

BAD = {
    "normalization": Bad("must be one of query, batch, sum.", ("mean", "Query", "", None, 1, ["sum"], True)),
    "reduction_log": Bad("must be one of binary, natural.", ("Binary", "ln", 2, None, ["binary"])),
    "top_k_pairs": Bad("must be one of either, both.", ("Either", "any", "", None, 1, True)),
    "activation_fn": Bad(
        "must be one of linear, sigmoid, tanh, relu, softplus, gelu, ", ("relu7", "softmax", "", 3, ["tanh"], abs)
    ),
    "class_weight": Bad(
        "must be None or a list of one weight of at least 0 per class.",
        ([-1.0], [NAN], [1.0, INFINITE], [True], ["1"], [None], 0.5, "ab", {0: 1.0}),
    ),
    "min_label": Bad("must be None or a number.", (NAN, *NO_NUMBER)),
    "ignore_index": Bad("must be None or a whole number.", (1.5, INFINITE, *NO_NUMBER)),
    "seed": Bad("must be None or a whole number of at least 0.", (-1, 1.5, NAN, *NO_NUMBER)),
    "label_smoothing": SHARE,
    "tau": FRACTION,
    "gain": Bad("Allowed: identity, pow2_minus_1", ("pow2", 3, ["identity"])),
    "weight": Bad(
        "must be None, a number of at least 0 or a list of such numbers.",
        (-1.0, NAN, [1.0, -1.0], [NAN], "ab", True, abs),
    ),
    "pos_weight": NOT_NEGATIVE_OR_NONE,
    **dict.fromkeys(("temperature", "label_temperature", "gumbel_temperature", "sigma", "gamma"), POSITIVE),
    **dict.fromkeys(("alpha", "scale", "base_margin"), POSITIVE),
    **dict.fromkeys(("margin", "beta", "epsilon", "eps", "virtual_label"), NOT_NEGATIVE),
    **dict.fromkeys(("exam_loss_weight", "rel_loss_weight"), NOT_NEGATIVE),
    **dict.fromkeys(("k", "topk", "num_negatives"), COUNT_OR_NONE),
    **dict.fromkeys(("sample_size", "n_samples", "max_iter", "no_of_levels", "ordinal_size"), COUNT),
    **dict.fromkeys(("respect_input_order", "normalize_labels", "squared", "use_fraction_label"), FLAG),
    "distance": Bad("must be one of euclidean, squared_euclidean, manhattan, cosine.", ("Cosine", "", None, 1, abs)),
    "similarity": Bad("must be one of cosine, dot, euclidean, manhattan.", ("cos", "", None, 1, ["dot"])),
    "margin_strategy": Bad("must be one of absolute, relative.", ("rel", "", None, 1)),
    "loss_fct": Bad("must be one of mse, mae, huber or a function.", ("MSE", "", None, 3, ["mse"])),
    "cos_score_transformation": Bad(
        "must be one of linear, sigmoid, tanh, relu, softplus, gelu, ", ("swishes", "softmax", "", 3, ["tanh"])
    ),
    "softmax_scale": POSITIVE,
    "dims": Bad("must be a list of whole numbers of at least 1.", ([], [0], [2.0], [True], 4, None, "4")),
    "weights": Bad("`weights`", (1.0, "ab", {"a": 1.0}, [1.0, 2.0, 3.0, 4.0])),
    "layer_weighting": Bad("must be one of uniform, log, linear or a function.", ("none", "", None, 1)),
    "directions": Bad(
        "must be a list of query_to_doc, query_to_query, doc_to_query, doc_to_doc.",
        ([], ["doc"], "query_to_doc", None, 1),
    ),
    "partition_mode": Bad("must be one of joint, per_direction.", ("Joint", "", None, 1)),
    "hardness_mode": Bad(
        "must be None or one of in_batch_negatives, hard_negatives, all_negatives.", ("hard", "", 1, True)
    ),
    "aggregation": Bad("must be one of mean, sum.", ("Mean", "", None, 1)),
    "projection_dim": COUNT_OR_NONE,
    **dict.fromkeys(("student_temperature", "teacher_temperature"), POSITIVE_OR_NONE),
    **dict.fromkeys(("mean_weight", "second_moment_weight"), NOT_NEGATIVE_OR_NONE),
    "hardness_strength": NOT_NEGATIVE,
    "threshold": COUNT_OR_NONE,
    "tie_encoder_decoder": FLAG,
    "pad_token_id": Bad("must be a whole number of at least 0.", (-1, 1.5, None, *NO_NUMBER)),
    **dict.fromkeys(("document_regularizer_threshold", "query_regularizer_threshold"), COUNT_OR_NONE),
    **dict.fromkeys(("n_dims_per_step", "n_layers_per_step"), Bad("must be a whole number;", (1.5, None, *NO_NUMBER))),
    **dict.fromkeys([f"{name}_weight" for name in ("last_layer", "prior_layers", "kl_div")], NOT_NEGATIVE),
    **dict.fromkeys(("kl_temperature", "document_regularizer_weight"), NOT_NEGATIVE),
    "query_regularizer_weight": NOT_NEGATIVE_OR_NONE,
    "use_document_regularizer_only": FLAG,
    **dict.fromkeys(
        ("document_regularizer", "query_regularizer"), Bad("must be one of flops, l1.", ("L1", "", None, 1))
    ),
    **dict.fromkeys(("num_labels", "mini_batch_size", "memory_size"), COUNT),
    **dict.fromkeys(("positive_margin", "negative_margin", "base"), Bad("must be a number.", (NAN, None, *NO_NUMBER))),
    **dict.fromkeys([f"concatenation_sent_{part}" for part in ("rep", "difference", "multiplication")], FLAG),
    **dict.fromkeys(("size_average", "gather_across_devices", "show_progress_bar"), FLAG),
    **dict.fromkeys(("contrast_anchors", "contrast_positives"), FLAG),
    **dict.fromkeys(("stochastic", "do_fine_small_difference", "as_shipped"), FLAG),
}
BAD_OF_ONE_LOSS = {
    ("multi_similarity", "beta"): POSITIVE,
    ("csr", "gamma"): NOT_NEGATIVE,
    ("embed_distill", "distance"): Bad("must be one of cosine, euclidean, mse.", ("l2", "manhattan", "", None, 1)),
}
SPECS = {
    "lambda_weight": ("lambda weight", LAMBDA_WEIGHTS),
    "weighting_scheme": ("weighting scheme", WEIGHTING_SCHEMES),
}
GAIN = Bad("Allowed: identity, pow2_minus_1", ("pow2", 3, None, ["identity"], {"name": "identity"}))
DISCOUNT = Bad("Allowed: identity, inverse, log2_inverse, inverse_log1p", ("log2", 3, ["inverse"], {"name": "inverse"}))
BAD_IN_SPECS = {
    "topn": COUNT_OR_NONE,
    "gain": GAIN,
    "discount": DISCOUNT | [None],
    "rank_discount_fn": DISCOUNT,
    "positive": Bad("must be a number, the lowest relevant label,", (NAN, INFINITE, None, *NO_NUMBER)),
    "normalized": FLAG,
    "light_discount": FLAG,
    "smooth_fraction": FRACTION,
    "mu": NOT_NEGATIVE,
}
REQUIRED_IN_SPECS = {"precision": {"topn": 1}, "list_mle": {"discount": "inverse"}}


def refused(make, *pieces):
    with pytest.raises(UserError) as caught:
        make()
    message = str(caught.value)
    assert "\n" not in message
    for piece in pieces:
        assert piece in message, message
    return message


def each_parameter_of(what):
    """Parametrizes over every key and its parameters whose names fit."""
    rows = [(key, name) for key in KEYS for name in get_loss(key).params if what(name)]
    return pytest.mark.parametrize(("key", "name"), rows, ids=["-".join(row) for row in rows])


def typo_of(name):
    return name[:-1] if len(name) > 3 else name + "s"


class TestParameters:
    def test_every_parameter_has_a_rule_and_refused_values(self):
        known = set(BAD) | set(SPECS) | {"loss"}  # a loss within a loss: test_wrappers.py
        assert {name for key in KEYS for name in get_loss(key).params} == known
        assert {n for _, registry in SPECS.values() for e in registry for n in e.parameters} == set(BAD_IN_SPECS)

    @each_parameter_of(lambda name: name not in SPECS and name != "loss")
    def test_wrong_value_is_refused(self, key, name):
        allowed = [None] if get_loss(key).params[name] is None else []  # the default is
        bad = BAD_OF_ONE_LOSS.get((key, name), BAD[name])
        for value in (value for value in bad.values if value not in allowed):
            pieces = (f"`{name}` ", bad.allowed, f"Received: {name}={value!r}")
            pieces = (f"Unknown gain {value!r}", bad.allowed) if name == "gain" else pieces
            refused(lambda value=value: get_loss(key, **{name: value}), *pieces)
            refused(lambda value=value: get_loss({"key": key, **CASES[key].required, name: value}), *pieces)

    @each_parameter_of(lambda name: name in ("normalization", "reduction_log", "activation_fn", "top_k_pairs"))
    def test_misspelled_choice_gets_a_suggestion(self, key, name):
        meant = {
            "normalization": "query",
            "reduction_log": "natural",
            "activation_fn": "sigmoid",
            "top_k_pairs": "either",
        }[name]
        for typo in (meant[:-1], meant.title()):
            refused(lambda typo=typo: get_loss(key, **{name: typo}), f"{name}={typo!r}. Did you mean {meant!r}?")

    @each_parameter_of(lambda name: True)
    def test_misspelled_name_gets_a_suggestion(self, key, name):
        typo = typo_of(name)
        pieces = (f"{key!r} has no parameter {typo!r}. Did you mean {name!r}?", "It takes: ", name)
        refused(lambda: get_loss(key, **{typo: 1}), *pieces)
        refused(lambda: type(get_loss(key))(**{typo: 1}), *pieces)


class TestSpecs:
    """Lambda weights and weighting schemes, in every loss that takes them and by themselves."""

    @each_parameter_of(lambda name: name in SPECS)
    def test_unknown_spec_is_refused(self, key, name):
        kind, registry = SPECS[name]
        known = [entry.key for entry in registry]
        typo = typo_of(known[-1])
        pieces = (f"Unknown {kind} {typo!r}. Did you mean {known[-1]!r}?", *known)
        for spec in (typo, {"key": typo}):
            refused(lambda spec=spec: get_loss(key, **{name: spec}), *pieces)
        for spec in ({"topn": 3}, 3, ["ndcg"], {}, True, LabelDiffLambdaWeight):
            pieces = (f"A {kind} is given as a key or as {{key: ", f"Received: {spec!r}")
            refused(lambda spec=spec: get_loss(key, **{name: spec}), *pieces)
        for wrong in (None, 3, ["ndcg"]):
            refused(lambda wrong=wrong: get_loss(key, **{name: {"key": wrong}}), f"Unknown {kind} {wrong!r}", *known)
        for entry in registry:
            pieces = (f"{kind} {entry.key!r} has no parameter 'bogus'", "It takes: ", *entry.parameters)
            refused(lambda k=entry.key: get_loss(key, **{name: {"key": k, "bogus": 3}}), *pieces)

    @pytest.mark.parametrize("entry", [*LAMBDA_WEIGHTS, *WEIGHTING_SCHEMES], ids=lambda entry: entry.key)
    def test_wrong_parameter_of_a_spec_is_refused(self, entry):
        make = get_lambda_weight if entry.key in LAMBDA_WEIGHTS else get_weighting_scheme
        required = REQUIRED_IN_SPECS.get(entry.key, {})
        for name in required:
            refused(lambda: make(entry.key), f"{entry.key!r} needs the parameter {name!r}")
        for name in entry.parameters:
            typo = typo_of(name)
            pieces = (f"{entry.key!r} has no parameter {typo!r}. Did you mean {name!r}?", "It takes: ", name)
            refused(lambda typo=typo: make({"key": entry.key, **required, typo: 1}), *pieces)
            bad = BAD_IN_SPECS[name]
            for value in (*bad.values, *([None] if name in required and None not in bad.values else [])):
                pieces = (name.removeprefix("rank_").removesuffix("_fn"), repr(value), bad.allowed)
                refused(lambda n=name, v=value: make({"key": entry.key, **required, n: v}), *pieces)

    @each_parameter_of(lambda name: name == "lambda_weight")
    def test_lambda_weight_of_an_unsupported_family_is_refused(self, key, name):
        families = get_loss(key).lambda_weights
        fitting = [entry.key for entry in LAMBDA_WEIGHTS if entry.target.family in families]
        assert 0 < len(fitting) < len(list(LAMBDA_WEIGHTS))
        for entry in LAMBDA_WEIGHTS:
            spec = {"key": entry.key, **REQUIRED_IN_SPECS.get(entry.key, {})}
            for given in (spec, get_lambda_weight(spec)):
                if entry.key in fitting:
                    assert get_loss(key, lambda_weight=given).params[name] == given
                else:
                    allowed = f"`lambda_weight` of {key!r} must be one of {', '.join(fitting)}. "
                    refused(lambda given=given: get_loss(key, lambda_weight=given), allowed, f"Received: {entry.key!r}")

    @each_loss(elsewhere="key")
    def test_losses_without_lambda_weights_lack_the_parameter(self, key):
        assert ("lambda_weight" in get_loss(key).params) == bool(get_loss(key).lambda_weights)


# (y_true, y_pred) of 7 rows of n columns, with k outputs
WRONG_SHAPES = {
    "list": lambda n, k: (
        *[((7, n - 1), (7, n)), ((6, n), (7, n)), ((7,), (7, n)), ((7, n), (7,)), ((), (7, n))],
        *[((7, n), (7, n, 2)), ((7, n, 3), (7, n)), ((7, n, 2, 1), (7, n))],
    ),
    "outputs": lambda n, k: (
        *[((7, n - 1), (7, n, k)), ((6, n), (7, n, k)), ((7,), (7, n, k)), ((), (7, n, k))],
        *[((7, n, k), (7, n, k)), ((7, n), (7, n)), ((7, n), (7, n, k, 1)), ((7, n), (7,))],
    ),
    "columns": lambda n, k: (((6, n), (7, n)), ((7, 4), (7, 6)), ((7, n), (7,)), ((7, n), (7, n, 2))),
    "classes": lambda n, k: (
        *[((6,), (7, n)), ((7, n - 1), (7, n)), ((7, n, 1), (7, n)), ((), (7, n))],
        *[((7,), (7,)), ((7,), (7, n, 1, 1))],
    ),
    "embeddings": lambda n, k: (
        *[((6,), (7, k, n) if k else (7, n)), ((7,), (7,)), ((), (7, k, n) if k else (7, n))],
        *[((7,), (7, n, 1, 1, 1)), ((7,), (7, 0, n))],
    ),
}


class TestShapes:
    @each_loss(elsewhere="key")
    def test_wrong_shapes_are_refused(self, key):
        case = case_of(key)
        fn = get_loss(key).get_loss_fn()
        for y_true, y_pred in WRONG_SHAPES[case.layout](case.width or case.dims or 6, case.outputs or case.columns):
            message = refused(lambda t=y_true, p=y_pred: fn(np.ones(t), np.ones(p)), repr(key), "y_pred", "[B")
            assert any(f"y_pred {shape}" in message for shape in (y_pred, list(y_pred))), message
            if "num_negatives=" not in message:  # that message is about the width of y_pred
                assert any(f"y_true {shape}" in message for shape in (y_true, list(y_true))), message

    @each_loss(elsewhere="key")
    def test_scalar_scores_are_refused(self, key):
        refused(lambda: get_loss(key).get_loss_fn()(np.ones((7, 6)), np.float32(1)), repr(key), "y_pred", "[B")


BOUNDED = [key for key in KEYS if get_loss(key).label_range]


class TestLabels:
    def test_losses_with_unit_labels_have_a_label_range(self):
        assert {"rank_one_listnet", "binary_cross_entropy"} <= set(BOUNDED)
        assert set(BOUNDED) == {key for key in KEYS if CASES[key].labels == "unit"}

    @pytest.mark.parametrize("key", BOUNDED)
    @pytest.mark.parametrize("low", [-0.25, -1e-3])
    def test_negative_label_outside_padding_is_refused(self, key, low):
        labels, scores = np.array([[low, 1.0]]), np.zeros((1, 2))
        for fn in (
            get_loss(key, min_label=None).get_loss_fn(),
            get_loss(key, min_label=-1.0).get_loss_fn(),
            get_loss(key).get_loss_fn(mask=np.ones((1, 2))),
        ):
            refused(lambda fn=fn: fn(labels, scores), f"{key!r} takes labels from 0 to 1. Received: {low:g}.")
        assert np.isfinite(float(get_loss(key).get_loss_fn()(labels, scores)))

    @pytest.mark.parametrize("key", BOUNDED)
    @pytest.mark.parametrize("high", [1.001, 4.0, np.inf])
    def test_label_above_one_is_refused(self, key, high):
        fn = get_loss(key).get_loss_fn()
        received = f"{key!r} takes labels from 0 to 1. Received: {high:g}."
        refused(lambda: fn(np.array([[1.0, high]]), np.zeros((1, 2))), received)

    @pytest.mark.parametrize("wrong", [6.0, 2.5])
    def test_unknown_class_number_is_refused(self, wrong):
        fn = get_loss("categorical_cross_entropy").get_loss_fn()
        refused(lambda: fn(np.array([0.0, wrong]), np.zeros((2, 6))), "class numbers", f"Received: {wrong:g}.")
