"""Set-up of the suite: one backend per run (`KERAS_BACKEND`), tests of another backend are skipped."""

import gc
import itertools
import os
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# JAX compiles every operation for every shape; the workers of a run and later runs share what was compiled.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import keras
import pytest
from hypothesis import settings

TESTS = Path(__file__).parent
BACKENDS = ("tensorflow", "jax", "torch")

# JAX compiles every operation anew for every shape: fewer examples there, and fewer losses (selection.py).
examples = 10 if keras.backend.backend() == "jax" else 30
settings.register_profile("suite", deadline=None, derandomize=True, max_examples=examples)
settings.load_profile("suite")


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in a shell's background job, whose processes inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "backend(*names): runs on these Keras backends only")
    config.addinivalue_line("markers", "slow_on(*names): `slow` on these Keras backends")


@pytest.hookimpl(tryfirst=True)  # before `-m` reads the markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The tests of the whole program take longest: first of all, so that no worker waits for another at the end.
    items.sort(key=lambda item: item.path.parent != TESTS)
    active = keras.backend.backend()
    for item in items:
        for marker in (*item.iter_markers("backend"), *item.iter_markers("slow_on")):
            unknown = set(marker.args) - set(BACKENDS)
            if unknown or not marker.args:
                raise pytest.UsageError(f"{item.nodeid}: no such backend: {sorted(unknown)}")
            if marker.name == "backend" and active not in marker.args:
                item.add_marker(pytest.mark.skip(reason=f"needs the backend {' or '.join(marker.args)}"))
            if marker.name == "slow_on" and active in marker.args:
                item.add_marker("slow")


def pytest_collection_finish() -> None:
    gc.freeze()  # modules and tests stay to the end: garbage collections need not look at them again and again


def clear_backend() -> None:
    """Drops what the backend keeps of past tests: it would fill the memory, and slow down garbage collection."""
    if keras.backend.backend() == "jax":
        import jax

        jax.clear_caches()
    if keras.backend.backend() == "tensorflow":
        from tensorflow.python.framework import ops

        # tf.custom_gradient registers one gradient per trace, and with it the whole graph, for the life of the process.
        traced = ops.gradient_registry._registry
        for name in [name for name in traced if name.startswith("CustomGradient-")]:
            del traced[name]
    keras.backend.clear_session()  # collects garbage, too


tests_run = itertools.count(1)


def pytest_runtest_teardown() -> None:
    if next(tests_run) % 250 == 0:
        clear_backend()


@pytest.fixture
def eager_steps(request):
    """Keras runs training steps eagerly on TensorFlow: tracing a step takes seconds, and most tests take few steps.

    Tests marked `graph` or `slow`, and fixtures of a module, trace their steps as a user's `fit` does.
    """
    traced = any(request.node.get_closest_marker(name) for name in ("graph", "slow"))
    if traced:
        yield
        return
    with run_eagerly():
        yield


@pytest.fixture(scope="session")
def eager():
    """A context in which steps run eagerly, for fixtures of a module."""
    return run_eagerly


@contextmanager
def run_eagerly():
    """Keras runs training steps eagerly within the block, on TensorFlow."""
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


@pytest.fixture
def policy():
    """Sets the precision policy of Keras for one test."""
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


@pytest.fixture
def run(monkeypatch, capfd):
    """Runs the command line in this process: (exit code, stdout, stderr)."""

    from ml4ir_losses import cli

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["ml4ir-losses", *map(str, args)])
        monkeypatch.setattr(cli.LOGGER, "handlers", [])  # the command adds its own, for this test's stderr
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capfd.readouterr()
        return stop.value.code, out, err

    return run
