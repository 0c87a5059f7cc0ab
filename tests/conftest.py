"""Set-up of the suite: one backend per run (`KERAS_BACKEND`), what needs another one is skipped."""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# JAX compiles every operation for every shape; the workers of a run and later runs share what was compiled.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import keras
import pytest
from hypothesis import settings

BACKENDS = ("tensorflow", "jax", "torch")

# JAX compiles every operation anew for every shape: fewer examples there, and fewer variants (losses/cases.py).
examples = 10 if keras.backend.backend() == "jax" else 30
settings.register_profile("suite", deadline=None, derandomize=True, max_examples=examples)
settings.load_profile("suite")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "backend(*names): runs on these Keras backends only")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    active = keras.backend.backend()
    for item in items:
        for marker in item.iter_markers("backend"):
            unknown = set(marker.args) - set(BACKENDS)
            if unknown or not marker.args:
                raise pytest.UsageError(f"{item.nodeid}: no such backend: {sorted(unknown)}")
            if active not in marker.args:
                item.add_marker(pytest.mark.skip(reason=f"needs the backend {' or '.join(marker.args)}"))


def forget() -> None:
    """Drops what the backend keeps of past tests: it would fill the memory, and slow down every collection."""
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


TESTS_RUN = iter(range(10**9))


def pytest_runtest_teardown() -> None:
    if next(TESTS_RUN) % 250 == 249:
        forget()


@pytest.fixture
def eager_steps(request):
    """Steps of Keras run as they are: to trace one takes seconds, and most tests take few of them.

    What is marked `graph` or `slow`, and fixtures of modules, have graphs as users do.
    """
    traced = any(request.node.get_closest_marker(name) for name in ("graph", "slow"))
    if traced or keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
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
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capfd.readouterr()
        return stop.value.code, out, err

    return run
