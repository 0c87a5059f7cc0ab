"""What TF_CONFIG may say, the first meeting of its processes, and what strategies refuse."""

import hashlib
import inspect
import json
import logging
import socket
import threading
import time

import keras
import pytest

from ml4ir_losses.config.distribution import DataParallel, MultiWorker, OneDevice
from ml4ir_losses.config.load import load_config
from ml4ir_losses.core.errors import ConfigError
from ml4ir_losses.experiments.distribution.cluster import Cluster
from ml4ir_losses.experiments.distribution.replica_rules import for_replicas
from ml4ir_losses.experiments.distribution.strategies import workers_of
from ml4ir_losses.experiments.distribution.workers import ONE_PROCESS
from ml4ir_losses.model import strategy_model
from tests.small import config as ranking_config
from tests.small_texts import config as text_config

TWO = {"worker": ["a:1", "b:2"]}
WORKER_0 = {"type": "worker", "index": 0}


def tf_config(cluster=TWO, task=WORKER_0):
    return json.dumps({"cluster": cluster, "task": task})


def test_chief_is_the_first_process():
    cluster = Cluster.of(tf_config({"worker": ["b:2", "c:3"], "chief": ["a:1"]}, {"type": "worker", "index": 1}))
    assert (cluster.addresses, cluster.rank) == (("a:1", "b:2", "c:3"), 2)
    assert [cluster.rank_of("chief", 0), cluster.rank_of("worker", 0)] == [0, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "multi_worker reads from the environment variable TF_CONFIG .* not set. An example: "),
        ("{cluster", "TF_CONFIG is not JSON .*Received: {cluster. An example: "),
        ("[1]", "TF_CONFIG needs the keys cluster and task"),
        ('{"cluster": {}, "task": 3}', "TF_CONFIG needs the keys cluster and task"),
        (tf_config({}), "TF_CONFIG lists no worker"),
        (tf_config({"ps": ["a:1"], **TWO}), "TF_CONFIG has the job 'ps'; multi_worker has the jobs chief and worker"),
        (tf_config({"worker": ["a:1", "b"]}), "TF_CONFIG has 'b' in the place of an address host:port"),
        (tf_config({"worker": ["a:1", "b:99999"]}), "TF_CONFIG has 'b:99999' in the place of an address"),
        (tf_config({"worker": 7}), "TF_CONFIG has 7 in the place of an address"),
        (tf_config({"worker": ["a:1", "a:1"]}), "TF_CONFIG lists an address twice"),
        (tf_config({"chief": ["a:1", "b:2"]}), "TF_CONFIG lists more than one chief"),
        (tf_config(task={"type": "worker", "index": 2}), "TF_CONFIG has the task worker 2, .*: worker 0 to 1"),
        (tf_config(task={"type": "worker", "index": "0"}), "TF_CONFIG has the task worker '0', "),
        (tf_config(task={"type": "chief", "index": 0}), "TF_CONFIG has the task chief 0, "),
    ],
)
def test_invalid_tf_config_is_one_line(text, message):
    with pytest.raises(ConfigError, match=message) as error:
        Cluster.of(text)
    assert "\n" not in str(error.value)


def free_addresses(number):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    addresses = tuple(f"127.0.0.1:{one.getsockname()[1]}" for one in sockets)
    for one in sockets:
        one.close()
    return addresses


def test_processes_meet_whoever_comes_first():
    clusters = [Cluster(addresses, rank, (("worker", 2),)) for addresses in [free_addresses(2)] for rank in range(2)]
    # TensorFlow listens where a process has met the others; here a socket takes its place.
    listening = []

    def meet(cluster):
        cluster.meet(20)
        host, port = cluster.addresses[cluster.rank].split(":")
        listening.append(socket.create_server((host, int(port))))

    threads = [threading.Thread(target=meet, args=(cluster,)) for cluster in clusters]
    threads[0].start()
    time.sleep(0.3)
    threads[1].start()
    for thread in threads:
        thread.join(20)
    assert len(listening) == 2
    for one in listening:
        one.close()


def test_address_without_answer_is_given_up():
    cluster = Cluster(free_addresses(2), 0, (("worker", 2),))
    with pytest.raises(ConfigError, match=f"nobody answers at {cluster.addresses[1]} within 0.1 s"):
        cluster.meet(0.1)


def test_port_of_this_process_in_use_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as used:
        address = f"127.0.0.1:{used.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"cannot listen at {address} .*earlier process"):
            Cluster((address, *free_addresses(1)), 0, (("worker", 2),)).meet(0.1)


def test_strategy_none_is_one_process():
    with workers_of(OneDevice()) as workers:
        assert workers is ONE_PROCESS


@pytest.mark.backend("tensorflow")
def test_tensorflow_names_its_strategies():
    with pytest.raises(
        ConfigError, match=r"data_parallel works on jax and torch; Keras runs on tensorflow\. Use mirror"
    ):
        workers_of(DataParallel(strategy="data_parallel"))


@pytest.mark.backend("jax", "torch")
@pytest.mark.parametrize("strategy", ["mirrored", "multi_worker"])
def test_other_backends_name_data_parallel(tmp_path, strategy):
    config = load_config(ranking_config(tmp_path, training={"distribution": strategy}))
    with pytest.raises(ConfigError, match=f"{strategy} works on tensorflow; .* Use data_parallel"):
        workers_of(config.training.distribution)


@pytest.mark.backend("tensorflow")
def test_more_parts_of_the_cpu_than_tensorflow_made_are_refused(tmp_path):
    keras.ops.zeros(1)  # TensorFlow works with its devices from now on
    config = load_config(ranking_config(tmp_path, training={"distribution": {"strategy": "mirrored", "devices": 64}}))
    with pytest.raises(ConfigError, match="64 parts of the CPU must be made before TensorFlow starts"):
        workers_of(config.training.distribution)


@pytest.mark.backend("tensorflow")
def test_multi_worker_without_tf_config_is_refused(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ConfigError, match="TF_CONFIG"):
        workers_of(MultiWorker(strategy="multi_worker"))


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"distribution": {"strategy": "mirrored", "timeout": 3}}, "training.distribution.timeout: unknown 'timeout'"),
        (
            {"distribution": {"strategy": "mirrored", "learning_rate": "linear"}},
            "training.distribution: learning_rate: linear needs batch_size: per_replica",
        ),
        ({"distribution": "mirrored", "jit_compile": True}, "jit_compile: XLA cannot compile .* mirrored; leave it"),
        ({"distribution": "multi_worker", "jit_compile": True}, "jit_compile: XLA cannot compile .* multi_worker"),
        ({"distribution": "multi_worker", "precision": "mixed_float16"}, "loss scale of mixed_float16; use mixed_bf"),
    ],
)
def test_what_a_strategy_cannot_use_is_refused(tmp_path, training, message):
    with pytest.raises(ConfigError, match=message):
        load_config(ranking_config(tmp_path, training=training))


@pytest.mark.parametrize(("rule", "rate"), [("constant", 0.01), ("linear", 0.04), ("sqrt", 0.02)])
def test_batches_per_replica_scale_the_learning_rate(tmp_path, caplog, rule, rate):
    distribution = {"strategy": "mirrored", "batch_size": "per_replica", "learning_rate": rule}
    schedule = {"key": "cyclic", "initial_learning_rate": 0.01, "maximal_learning_rate": 0.1}
    model = {"optimizer": {"key": "sgd", "learning_rate": 0.01}, "lr_schedule": schedule}
    config = load_config(ranking_config(tmp_path, model=model, training={"distribution": distribution}))
    with caplog.at_level(logging.INFO, logger="ml4ir_losses"):
        scaled = for_replicas(config, 4)
    assert scaled.data.batch_size == 32
    assert scaled.model.optimizer.learning_rate == pytest.approx(rate)
    assert scaled.model.lr_schedule.maximal_learning_rate == pytest.approx(10 * rate)
    assert f"global batch 32 = 8 x 4 replicas, learning rate {rate:g} = 0.01 x {rate / 0.01:g}" in caplog.text


def test_global_batch_stays_as_it_is(tmp_path):
    config = load_config(ranking_config(tmp_path, training={"distribution": "mirrored"}))
    assert for_replicas(config, 4) is config


def test_batches_of_every_data_set_are_per_replica(tmp_path):
    columns = {"anchor": "a", "positive": "b"}
    sets = {
        name: {"train": "train.csv", "columns": columns, "batch_size": size} for name, size in (("x", 6), ("y", None))
    }
    distribution = {"strategy": "mirrored", "batch_size": "per_replica"}
    raw = text_config(tmp_path, "multiple_negatives_ranking", training={"distribution": distribution})
    raw["data"] = {"directory": str(tmp_path), "datasets": sets, "batch_size": 5}
    scaled = for_replicas(load_config(raw), 3)
    assert {name: one.batch_size for name, one in scaled.data.sets().items()} == {"x": 18, "y": 15}


@pytest.mark.backend("tensorflow")
def test_keras_is_the_one_whose_defects_the_model_works_around():
    from keras.src.backend.tensorflow import trainer

    replaced = (
        trainer.TensorFlowTrainer._maybe_symbolic_build,
        trainer.TFEpochIterator._get_iterator,
        trainer.TensorFlowTrainer._make_function,
        trainer.reduce_per_replica,
    )
    digest = hashlib.sha256("".join(map(inspect.getsource, replaced)).encode()).hexdigest()[:16]
    assert (keras.__version__.rpartition(".")[0], digest) == (strategy_model.CHECKED_KERAS, "22f55af641024532"), (
        f"Keras changed its training steps: read {strategy_model.__name__}, run the tests of multi_worker, also the "
        "slow ones, and then enter the new version and digest"
    )
