"""Runs of `linear` and `gam` as native models of search engines."""

import json
import re

import numpy as np
import pytest

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.export.exporting import export_model
from ml4ir_losses.features.kinds.categorical import FittedCategorical
from ml4ir_losses.features.kinds.numeric import FittedNumeric
from ml4ir_losses.features.kinds.text import FittedText
from ml4ir_losses.features.transforms import fit_transforms
from ml4ir_losses.model.relevance_model import RelevanceModel

pytestmark = [pytest.mark.backend("tensorflow")]
ENGINES = ["opensearch", "solr", "vespa"]
ROWS = 120


def cells(missing=True):
    rng = np.random.default_rng(0)
    numbers = {
        "price": rng.lognormal(3, 1, ROWS),
        "rating": np.round(rng.normal(0, 2, ROWS), 1),
        "f-1": rng.normal(size=ROWS),
        "seconds": 1.7e6 + rng.normal(0, 1e4, ROWS),
    }
    holes = {name: np.where(rng.random(ROWS) < 0.1 * missing, np.nan, column) for name, column in numbers.items()}
    brands = rng.choice(["acme", "it's", 'a "b"', "other", ""], ROWS).tolist()
    return {
        "query_id": np.arange(ROWS) // 10,
        **{name: c.astype("float32") for name, c in holes.items()},
        "brand": brands,
    }


def number(*columns, transforms, **options):
    x = np.stack([np.nan_to_num(cells()[column], nan=1.0) for column in columns], axis=1).astype("float64")
    fitted = fit_transforms(x, transforms)
    return FittedNumeric(name=columns[0], columns=[*columns], fill=[1.0] * len(columns), transforms=fitted, **options)


INPUTS = [
    number("price", transforms=["log1p", "standardise"], missing_indicator=True),
    number("rating", "f-1", transforms=[{"key": "clip", "min": -3.0}, {"key": "quantile", "quantiles": 20}]),
    number("seconds", transforms=["standardise"]),
    FittedCategorical(
        name="brand", columns=["brand"], vocabulary=["acme", "it's", 'a "b"'], num_buckets=1, embedding_dim=4
    ),
]
GAMS = ["gam", {"key": "gam", "hidden_units": [32, 8], "activation": "leaky_relu"}, {"key": "gam", "hidden_units": []}]


def make_model(architecture, inputs=INPUTS) -> RelevanceModel:
    """A model with random weights, so that no unit is idle."""
    model = RelevanceModel(inputs, {"architecture": architecture, "loss": "softmax_cross_entropy", "optimizer": "adam"})
    rng = np.random.default_rng(1)
    model.scorer.set_weights([rng.normal(size=w.shape) * 0.5 for w in model.scorer.weights])
    model.encoder.set_weights([rng.normal(size=w.shape) * 0.5 for w in model.encoder.weights])
    return model


@pytest.fixture(scope="module")
def models():
    return {str(architecture): make_model(architecture) for architecture in ["linear", *GAMS]}


@pytest.mark.parametrize("architecture", ["linear", *GAMS], ids=str)
@pytest.mark.parametrize("engine", ENGINES)
def test_engine_gives_the_logits_of_keras(engine, architecture, models, tmp_path):
    exported = export_model(models[str(architecture)], tmp_path / "out", engine, data=cells())
    assert exported.differences.keys() == {1, 7, 1_000}
    assert max(exported.differences.values()) <= 1e-5
    assert {"mapping.json", "export.json"} < {*exported.files}


def test_terms_of_a_linear_model_are_those_of_its_weights(models, tmp_path):
    """With one standardised column the whole formula is w · (x - mean) / deviation + b."""
    model = make_model("linear", INPUTS[2:3])
    (kernel, bias), state = model.scorer.head.get_weights(), INPUTS[2].transforms[0]
    export_model(model, tmp_path / "vespa", "vespa", data=cells())
    profile = (tmp_path / "vespa" / "relevance.profile").read_text()
    line = re.search(r"isNan\(attribute\(seconds\)\), (\S+), (\S+) ([-+]) (\S+) \* \(attribute", profile)
    slope = float(line[4]) * (1 if line[3] == "+" else -1)
    assert np.isclose(slope, kernel[0, 0] / state["scale"][0], rtol=1e-6)
    assert np.isclose(float(line[1]), kernel[0, 0] * (1.0 - state["centre"][0]) / state["scale"][0], rtol=1e-5)
    assert f"expression: {bias[0]:.12g} + seconds()" in profile


def test_feature_set_holds_queries_whose_scores_are_not_negative(models, tmp_path):
    export_model(models["gam"], tmp_path / "out", "opensearch", data=cells())
    features = json.loads((tmp_path / "out" / "featureset.json").read_text())["featureset"]["features"]
    names = [feature["name"] for feature in features]
    assert len({*names}) == len(names)
    assert all(re.fullmatch(r"[A-Za-z]\w*", name) for name in names)
    by_name = {feature["name"]: feature["template"] for feature in features}
    assert by_name["price_below_0"]["function_score"] == {
        "query": {"range": {"price": {"lt": 0}}},
        "functions": [{"field_value_factor": {"field": "price", "factor": -1}}],
        "boost_mode": "replace",
    }
    assert by_name["f_1_is_missing"]["constant_score"]["filter"] == {
        "bool": {"must_not": [{"exists": {"field": "f-1"}}]}
    }
    assert by_name["brand_2"] == {"constant_score": {"filter": {"term": {"brand": "it's"}}, "boost": 1.0}}
    model = json.loads((tmp_path / "out" / "model.json").read_text())["model"]["model"]
    weights = json.loads(model["definition"])
    assert model["type"] == "model/linear"
    assert weights.keys() < {*names}
    assert weights["price_adds"] == 1.0
    search = json.loads((tmp_path / "out" / "search.json").read_text())
    assert search["rescore"]["query"]["rescore_query"]["sltr"]["model"] == "relevance"


def test_features_of_solr_name_their_classes(models, tmp_path):
    export_model(models["linear"], tmp_path / "out", "solr", data=cells())
    features = json.loads((tmp_path / "out" / "features.json").read_text())
    model = json.loads((tmp_path / "out" / "model.json").read_text())
    assert [feature["name"] for feature in model["features"]] == [feature["name"] for feature in features]
    assert model["params"]["weights"].keys() == {feature["name"] for feature in features}
    assert {feature["class"].rpartition(".")[2] for feature in features} == {"SolrFeature", "ValueFeature"}
    params = {feature["name"]: feature["params"] for feature in features}
    assert params["brand_2"] == {"fq": ["{!term f=brand}it's"]}
    assert params["price_adds"]["q"].startswith("{!func}max(0.0,if(exists(price),")
    assert params["price_takes"]["q"].startswith("{!func}max(0.0,sub(0.0,if(exists(price),")


MAPPINGS = {
    "opensearch": {
        "price": {"query": {"match": {"title": "{{keywords}}"}}},
        "rating": {"field": "stars", "negative": True},
    },
    "solr": {"price": "query({!edismax qf=title v=${keywords}},0)", "f-1": "rating", "rating": "price"},
    "vespa": {"price": "bm25(title)", "rating": "attribute(stars)"},
}


@pytest.mark.parametrize(("engine", "mapping"), MAPPINGS.items())
def test_mapping_names_what_a_column_is_in_the_engine(engine, mapping, models, tmp_path):
    exported = export_model(models["gam"], tmp_path / "out", engine, data=cells(missing=False), mapping=mapping)
    assert max(exported.differences.values()) <= 1e-5
    written = json.loads((tmp_path / "out" / "mapping.json").read_text())
    assert {column: written[column] for column in mapping} == mapping
    assert written.keys() == {"price", "rating", "f-1", "seconds", "brand"}
    if engine == "opensearch":
        assert json.loads((tmp_path / "out" / "search.json").read_text())["rescore"]["query"]["rescore_query"]["sltr"][
            "params"
        ] == {"keywords": "the keywords"}


def test_mapping_without_numbers_below_0_saves_a_feature(models, tmp_path):
    mapping = {column: {"field": column, "negative": False} for column in ("price", "seconds")}
    export_model(models["linear"], tmp_path / "out", "opensearch", data=cells(), mapping=mapping)
    text = (tmp_path / "out" / "featureset.json").read_text()
    assert "rating_below_0" in text
    assert "price_below_0" not in text


REFUSED = {
    "dnn": ("dnn", INPUTS, "'linear' and 'gam' natively, not of 'dnn'"),
    "tanh": ({"key": "gam", "activation": "tanh"}, INPUTS, "activation 'tanh' of the gam is not piecewise linear"),
    "query of a linear model": ("linear", [*INPUTS, number("seconds", transforms=[], scope="query")], "adds the same"),
    "query of a gam": ("gam", [*INPUTS, number("seconds", transforms=[], scope="query")], "weight its terms"),
    "normal quantile": (
        "linear",
        [number("price", transforms=[{"key": "quantile", "output": "normal"}])],
        "cannot compute the transform 'quantile'",
    ),
    "query transform": ("linear", [number("price", transforms=["query_min_max"])], "the transform 'query_min_max'"),
    "query rank": ("linear", [number("price", transforms=[], query_rank=True)], "query_rank compares the documents"),
    "query minimum": ("gam", [number("price", transforms=[], fill_from_query=True)], "missing: query_min compares"),
    "buckets": (
        "linear",
        [FittedCategorical(name="brand", columns=["brand"], num_buckets=8)],
        "cannot hash categories into buckets",
    ),
    "lists": (
        "linear",
        [FittedCategorical(name="brand", columns=["brand"], vocabulary=["a"], pooling="mean", max_values=2)],
        "cannot pool lists of categories",
    ),
    "text": (
        "linear",
        [FittedText(name="brand", columns=["brand"], vocabulary=["a"], max_length=3)],
        "cannot compute type text",
    ),
    "two inputs of a column": (
        "gam",
        [
            number("price", transforms=[]),
            number("price", transforms=["log1p"]).model_copy(update={"name": "log_price"}),
        ],
        "Two inputs read the column 'price'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_engine_computes_is_refused_in_one_line(case, tmp_path):
    architecture, inputs, message = REFUSED[case]
    with pytest.raises(UserError, match=message) as error:
        export_model(make_model(architecture, inputs), tmp_path / "out", "vespa", data=cells())
    assert "serve" in str(error.value)
    assert not list(tmp_path.iterdir())


def test_column_that_two_inputs_of_a_linear_model_read_has_two_terms(tmp_path):
    inputs = [
        number("price", transforms=[]),
        number("price", transforms=["log1p"]).model_copy(update={"name": "log_price"}),
    ]
    exported = export_model(make_model("linear", inputs), tmp_path / "out", "solr", data=cells())
    assert max(exported.differences.values()) <= 1e-5


@pytest.mark.parametrize(
    ("engine", "mapping", "message"),
    [
        ("vespa", {"prise": "x"}, "no input reads a column 'prise'. Did you mean 'price'"),
        ("opensearch", {"price": {"fields": "x"}}, "takes the name of a field"),
        ("opensearch", {"brand": {"query": {}}}, "is a category; it must be the name of a field"),
        ("opensearch", {"price": {"query": {"match": {"title": "shoe"}}}}, "'price' has missing cells"),
        ("saved_model", {"price": "x"}, "takes no mapping"),
    ],
)
def test_wrong_mapping_is_refused(engine, mapping, message, models, tmp_path):
    with pytest.raises(UserError, match=message):
        export_model(models["linear"], tmp_path / "out", engine, data=cells(), mapping=mapping)
    assert not list(tmp_path.iterdir())


def test_too_many_categories_and_labels_that_vespa_cannot_write_are_refused(tmp_path):
    many = FittedCategorical(name="brand", columns=["brand"], vocabulary=[f"b{i}" for i in range(1_001)])
    with pytest.raises(UserError, match="1,001 categories"):
        export_model(make_model("linear", [many]), tmp_path / "out", "solr", data=cells())
    odd = FittedCategorical(name="brand", columns=["brand"], vocabulary=["both ' and \""])
    with pytest.raises(UserError, match="cannot be written as a label of Vespa"):
        export_model(make_model("linear", [odd]), tmp_path / "out", "vespa", data=cells())
