"""The documentation: the generated part is up to date, what it names exists, its code runs."""

import csv
import importlib
import inspect
import json
import re
import shlex

import pytest
import yaml
from pydantic import TypeAdapter

from markdown_blocks import ROOT, blocks, commands, run_commands, run_python, run_section
from ml4ir_losses.config.in_memory import SPLITS
from ml4ir_losses.config.load import load_config
from ml4ir_losses.config.search_space import check_search_space
from ml4ir_losses.config.yaml_io import read_yaml
from ml4ir_losses.core.errors import ConfigError, UserError
from ml4ir_losses.core.registry import LAMBDA_WEIGHTS, LOSSES, METRICS, WEIGHTING_SCHEMES

DOCS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
PEERS = "docs/examples-of-the-peers.md"
ENGINES = "docs/search-engines.md"
EVALUATING, EXPLAINING, EMBEDDINGS = "docs/evaluating.md", "docs/explaining.md", "docs/embeddings.md"
LAST = [EVALUATING, EXPLAINING, EMBEDDINGS]  # they use the runs of getting-started.md and texts.md
PEER_SECTIONS = re.findall(r"^## (.*)$", (ROOT / PEERS).read_text(encoding="utf-8"), re.M)
COMPAT = {
    "TF-Ranking": "tf_ranking",
    "ml4ir": "ml4ir",
    "sentence-transformers (cross-encoder)": "sentence_transformers.cross_encoder",
}


def read(name):
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def tables(text):
    """Every row of every table as {header: cell}."""
    for table in re.findall(r"(?:^\|.*\|\n)+", text, re.M):
        header, _, *rows = ([c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table.splitlines())
        for row in rows:
            assert len(row) == len(header), row
            yield dict(zip(header, row, strict=True))


def codes(cell):
    return re.findall(r"`([^`]+)`", cell)


def test_catalogue_of_losses_holds_every_key():
    text = read("losses.md")
    for entry in (*LOSSES, *LAMBDA_WEIGHTS, *WEIGHTING_SCHEMES):
        if entry.target.__module__.startswith("ml4ir_losses."):
            assert f"\n### `{entry.key}`\n" in text


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working directory with the repository's configs and the config of docs/yaml.md, in which all code has run."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "configs").symlink_to(ROOT / "configs")
    (folder / "shop.yaml").write_text(blocks("docs/yaml.md", "yaml")[0][1], encoding="utf-8")
    run_python([*(file for file in DOCS if file not in (PEERS, *LAST)), *LAST], folder)
    return folder


@pytest.mark.backend("tensorflow")
def test_code_and_commands_run(folder):
    assert run_commands("docs/yaml.md", folder, "--set training.epochs=1 --set 'expected_metrics={}'") == [
        "check",
        "train",
        "evaluate",
        "predict",
        "report",
        "schema",
    ]
    assert (folder / "ranked.csv").read_text().startswith("query_id,document_id,label,logit,score,rank\n")


@pytest.mark.backend("tensorflow")
def test_commands_that_evaluate_run(folder, run, monkeypatch):
    monkeypatch.chdir(folder)
    few = ["--set", "training.epochs=1", "--set", "data.options.queries=200"]
    lines = [shlex.split(command)[1:] for command in commands(EVALUATING)]
    for line in lines:
        code, _, err = run(*line, *(few if line[0] == "train" else []))
        assert code == 0, err
    assert [line[0] for line in lines].count("evaluate") > 4


@pytest.mark.backend("tensorflow")
def test_request_of_the_docs_is_answered(folder):
    from ml4ir_losses.serving.service import load_service

    service = load_service(folder / "shop-ranker")
    answer = service.start("rank", blocks("docs/serving.md", "json")[0][1].encode()).result(60)
    service.close()
    assert {document["id"] for document in answer["results"][0]["documents"]} == {"a", "b"}


def test_requests_of_the_docs_fit_the_config_of_the_docs():
    from ml4ir_losses.serving.columns import Column, rank_types
    from ml4ir_losses.serving.settings import Limits

    inputs = yaml.safe_load(blocks("docs/yaml.md", "yaml")[0][1])["features"]["inputs"]
    kinds = {"numeric": "number", "categorical": "category", "text": "text"}
    columns = {one["name"]: Column(one["name"], kinds[one["type"]], one.get("scope", "document")) for one in inputs}
    many, single = map(TypeAdapter, rank_types(columns, Limits()))
    rank, explain, *_ = (json.loads(text) for _, text in blocks("docs/serving-api.md", "json"))
    assert many.validate_python(rank) == rank
    assert len(explain.pop("compare")) == 2
    assert single.validate_python(explain) == explain


def test_options_and_metrics_of_the_server_exist():
    from ml4ir_losses.cli.commands.serve import serve
    from ml4ir_losses.serving.current import Current
    from ml4ir_losses.serving.metrics import Metrics

    text, page = read("serving.md"), Metrics(Current()).text().decode()
    options = {f"--{name.replace('_', '-')}" for name in inspect.signature(serve).parameters}
    named = set(re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", text.partition("## Docker")[0])) - {"--data"}  # of curl
    assert len(named) > 8
    assert named <= options
    for name in re.findall(r"`((?:ml4ir_losses|process)_[a-z_]+)", text):
        assert f"# TYPE {name.removesuffix('_total')}" in page


@pytest.mark.backend("tensorflow")
def test_command_that_explains_runs(folder, run, monkeypatch):
    monkeypatch.chdir(folder)
    (line,) = commands(EXPLAINING)
    with (folder / "runs" / "first" / "predictions.csv").open(newline="") as file:
        rows = [(row["query_id"], row["document_id"]) for row in csv.DictReader(file)]
    here = {"q001985": rows[0][0], "d02708": rows[0][1], "d04450": rows[1][1]}  # of the smaller run of the tests
    code, out, err = run(*(here.get(word, word) for word in shlex.split(line)[1:]))
    assert code == 0, err
    assert out.startswith(f"query {rows[0][0]}: why {rows[0][1]} (rank ")


@pytest.mark.backend("tensorflow")
def test_commands_that_quantize_and_search_run(folder, run, monkeypatch):
    pytest.importorskip("faiss")
    monkeypatch.chdir(folder)
    results = [run(*shlex.split(line)[1:]) for line in commands(EMBEDDINGS)]
    assert [code for code, *_ in results] == [0, 0], results
    assert "wing" in results[-1][1]


@pytest.mark.backend("tensorflow")
def test_commands_that_resume_run(folder, run, monkeypatch):
    monkeypatch.chdir(folder)
    few = ["--set", "training.epochs=1", "--set", "data.options.queries=200"]
    lines = [shlex.split(command)[1:] for command in commands("docs/resuming.md")]
    results = [run(*line, *(few if line[0] == "train" else [])) for line in lines]
    assert [code for code, *_ in results] == [0, 0]
    assert results[1][1] == "runs/resumed: finished\n"


def test_commands_that_distribute_name_valid_settings(tmp_path):
    (tmp_path / "shop.yaml").write_text(blocks("docs/yaml.md", "yaml")[0][1], encoding="utf-8")
    lines = [shlex.split(command) for command in commands("docs/scaling.md") if "ml4ir-losses train" in command]
    for line in lines:
        options = iter(line[line.index("shop.yaml") + 1 :])
        given = [(name, None if name == "--resume" else next(options)) for name in options]
        assert {name for name, _ in given} <= {"--run-dir", "--set", "--resume"}
        load_config(tmp_path / "shop.yaml", [value for name, value in given if name == "--set"])
    assert len(lines) > 5


@pytest.mark.backend("tensorflow")
def test_commands_that_export_run(folder, run, monkeypatch):
    monkeypatch.chdir(folder)
    for line in [*commands("docs/export.md"), *commands("docs/tensorflow-serving.md")]:
        code, out, err = run(*shlex.split(line)[1:])
        assert code == 0, err
        assert "largest difference from Keras" in out


def test_commands_that_convert_run(folder, run, monkeypatch):
    monkeypatch.chdir(folder)
    for line in commands("docs/converting.md"):
        code, _, err = run(*shlex.split(line)[1:])
        assert code == 0, err


@pytest.mark.backend("tensorflow")
def test_commands_that_check_data_run(folder, run, monkeypatch):
    monkeypatch.chdir(folder)
    lines = [shlex.split(command)[1:] for command in commands("docs/checks.md")]
    for line in lines:
        code, _, err = run(*line)
        assert code == 0, err
    assert [line[0] for line in lines] == ["check"] * 2


@pytest.mark.backend("tensorflow")
def test_command_of_the_migration_guide_runs(folder, run, monkeypatch):
    monkeypatch.chdir(folder)
    (line,) = commands("docs/migrating.md")
    code, out, _ = run(*shlex.split(line, comments=True)[1:])
    assert code == 0
    assert "changed" in out
    assert load_config("imported.yaml").features.positions == "rank"


@pytest.mark.backend("tensorflow")
def test_commands_that_estimate_propensities_run(folder, run, monkeypatch):
    monkeypatch.chdir(folder)
    lines = [shlex.split(command) for command in commands("docs/clicks.md")]
    for _, *arguments in (line for line in lines if line[0] == "ml4ir-losses"):
        code, _, err = run(*arguments, "--resamples", "2")
        assert code == 0, err
    assert (folder / "propensities.json").exists()
    assert (folder / "swaps.json").exists()


@pytest.mark.backend("tensorflow")
def test_commands_that_export_to_search_engines_run(tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _, text in [*blocks(ENGINES, "yaml"), *blocks(ENGINES, "yml")]:
        (tmp_path / text.split()[1]).write_text(text, encoding="utf-8")
    lines = [shlex.split(command)[1:] for command in commands(ENGINES)]
    few = ["--set", "training.epochs=1", "--set", "data.options.queries=50"]
    for line in lines:
        code, out, err = run(*line, *(few if line[0] == "train" else []))
        assert code == 0, err
    assert [line[0] for line in lines] == ["train", "export", "export", "export"]
    assert "at most 1e-05 is allowed" in out


@pytest.mark.backend("tensorflow")
@pytest.mark.parametrize("section", PEER_SECTIONS)
def test_examples_beside_those_of_the_peers_run(section, tmp_path):
    run_section(PEERS, section, tmp_path)


@pytest.mark.parametrize("file", DOCS)
def test_configs_are_valid(file, tmp_path):
    quickstart = yaml.safe_load((ROOT / "configs" / "quickstart.yaml").read_text(encoding="utf-8"))
    del quickstart["expected_metrics"]
    for line, text in blocks(file, "yaml"):
        (tmp_path / "part.yaml").write_text(text, encoding="utf-8")
        part = read_yaml(tmp_path / "part.yaml")
        if "path" in part.get("data", {}):
            quickstart["data"] = {k: v for k, v in quickstart["data"].items() if k not in SPLITS}
        whole = "name" in part or {"columns", "datasets"} & set(part.get("data", {}))
        raw = part if whole else {**quickstart, **{name: {**quickstart[name], **s} for name, s in part.items()}}
        try:
            check_search_space(load_config(raw))
        except ConfigError as error:
            pytest.fail(f"{file}:{line}: {error}")


def test_guide_names_every_loss_and_no_other():
    known = {name for e in LOSSES for name in (e.key, *e.aliases)} | {"position_bias"}
    known |= {e.key for e in LAMBDA_WEIGHTS}
    rows = [row for row in tables(read("which-loss.md")) if "start with" in row]
    assert rows
    for row in rows:
        for name in codes(row["start with"]) + codes(row["compare with"]):
            assert name in known
    told = set(codes(read("which-loss.md").replace("```", "")))
    prefixes = tuple(code[:-3] for code in re.findall(r"`(\w+\.\.\.)`", read("which-loss.md")))
    for entry in LOSSES:
        if entry.target.__module__.startswith("ml4ir_losses."):
            assert entry.key in told or entry.key.startswith(prefixes), f"docs/which-loss.md lacks {entry.key}"


def test_migration_tables_name_what_exists():
    rows = 0
    for section in re.split(r"^## ", read("migrating.md"), flags=re.M)[1:]:
        module = COMPAT.get(section.partition("\n")[0])
        for row in tables(section):
            if "key here" not in row:
                continue
            rows += 1
            entry = LOSSES[codes(row["key here"])[0]]
            assert [entry.key] == codes(row["key here"])
            for alias in codes(row.get("TF-Ranking key", "")):
                assert LOSSES[alias].key == entry.key
            peer = importlib.import_module(f"ml4ir_losses.compat.{module}")
            (name,) = codes(row.get("class") or row["class there"])
            assert getattr(peer, name).key == entry.key
            told = re.sub(r"\([^)]*\)|`\w+` → ", "", row["parameters there → here"])
            assert set(codes(told)) <= set(entry.parameters), row
    assert rows > 25


def is_valid(registry, spec):
    """True if the registry's entry takes the parameters of the spec."""
    try:
        registry[spec["key"]].check_parameters("", {name: value for name, value in spec.items() if name != "key"})
    except UserError:
        return False
    return True


def test_specs_in_the_migration_tables_are_valid():
    """Keys such as `ndcg` name a metric and a lambda weight: one of them must take the parameters."""
    registries = (LAMBDA_WEIGHTS, WEIGHTING_SCHEMES, LOSSES, METRICS)
    for code in codes(read("migrating.md").replace("```", "")):
        if code.startswith("{key: ") and "..." not in code:
            spec = yaml.safe_load(code)
            known = [registry for registry in registries if spec["key"] in registry]
            assert not known or any(is_valid(registry, spec) for registry in known), code


def test_migration_tables_name_losses_for_peers_without_compat():
    rows = [row for row in tables(read("migrating.md")) if "loss here" in row]
    for row in rows:
        loss, metric = codes(row["loss here"]), codes(row.get("metric here", ""))
        assert loss or metric or row["loss here"], row
        for code in loss[:1]:
            assert code.startswith("{key: ") or code in LOSSES or code.startswith("normalization="), code
    assert len(rows) > 40


@pytest.mark.parametrize("file", ["README.md", "CONTRIBUTING.md", *DOCS])
def test_links_have_targets(file):
    text = (ROOT / file).read_text(encoding="utf-8")
    headings = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.+)$", text, re.M)}
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in headings
        elif not target.startswith("http"):
            assert ((ROOT / file).parent / target.partition("#")[0]).exists(), target
