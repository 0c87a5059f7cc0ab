"""Packaging of ml4ir-losses."""

from pathlib import Path

from setuptools import find_packages, setup

RUNTIME = [
    "keras>=3.15,<4",
    "numpy>=2,<3",
    "PyYAML>=6,<7",
    "pydantic>=2.7,<3",
    "typing_extensions>=4.10,<5",
    "typer>=0.15,<1",
    "rich>=13,<16",
    "lazy_loader>=0.4,<1",
    "matplotlib>=3.9,<4",
    "Jinja2>=3.1,<4",
    "safetensors>=0.5,<1",
    "filelock>=3.15,<5",
]
DATA = ["scikit-learn>=1.6,<2", "pyarrow>=17,<27", "scipy>=1.13,<2", "google-crc32c>=1.6,<2"]
TENSORFLOW = ["tensorflow>=2.21,<3"]
HUB = ["keras-hub>=0.32,<0.33"]
CLOUD = ["fsspec>=2024.6"]
LARGE = ["duckdb>=2,<3"]
BASELINES = ["lightgbm>=4.6,<5", "catboost>=1.2.8,<2"]
SEARCH = ["bm25s>=0.2,<1", "faiss-cpu>=1.15,<2"]
LOGGERS = ["tensorboard>=2.18,<3", "mlflow-skinny>=3,<4"]
TUNE = ["optuna>=5,<6"]
RAY = ["ray[train]>=2.60,<3; python_version < '3.14'"]
ONNX = ["onnx>=1.17,<2", "tf2onnx>=1.17,<2", "onnxruntime>=1.20,<2"]
LITERT = ["ai-edge-litert>=2,<3"]
OPENVINO = ["openvino>=2025.0", "nncf>=2.14"]
SERVE = ["fastapi>=0.115,<1", "uvicorn>=0.30,<1", "httptools>=0.6,<1", "prometheus-client>=0.20,<1"]
SHAP = ["shap>=0.47,<1"]
TEST = [
    *["pytest>=8,<10", "pytest-xdist>=3.5,<4", "hypothesis>=6.100,<7", "jsonschema>=4.20,<5", "ir-measures>=0.4,<0.5"],
    *["pandas>=2.2,<4", "polars>=1.30,<3", "datasets>=4,<6", *LARGE, *CLOUD],
]
DOCS = ["mkdocs-material>=9.6,<10", "mkdocstrings[python]>=0.29,<2"]
BACKENDS = ["jax>=0.5,<1", "torch==2.13.0"]

setup(
    name="ml4ir-losses",
    version="0.1.0",
    description="Ranking and embedding losses for Keras 3, chosen by key in a YAML config",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    keywords="ranking, learning to rank, information retrieval, embeddings, losses, Keras",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    packages=find_packages(include=["ml4ir_losses", "ml4ir_losses.*"]),
    package_data={
        "ml4ir_losses": ["py.typed", "*.pyi"],
        "ml4ir_losses.report": ["templates/*"],
        "ml4ir_losses.serving": ["page/*"],
    },
    install_requires=RUNTIME + DATA + TENSORFLOW,
    extras_require={
        "test": TEST,
        "backends": BACKENDS,
        "hub": HUB,
        "search": SEARCH,
        "loggers": LOGGERS,
        "tune": TUNE,
        "ray": RAY,
        "onnx": ONNX,
        "litert": LITERT,
        "openvino": OPENVINO,
        "serve": SERVE,
        "shap": SHAP,
        "baselines": BASELINES,
        "large": LARGE,
        "cloud": CLOUD,
        "s3": [*CLOUD, "s3fs>=2024.6"],
        "gs": [*CLOUD, "gcsfs>=2024.6"],
        "docs": DOCS,
        "dev": [
            *TEST,
            *HUB,
            *SEARCH,
            *LOGGERS,
            *TUNE,
            *RAY,
            *BASELINES,
            *ONNX,
            *LITERT,
            *OPENVINO,
            *SERVE,
            *SHAP,
            "httpx>=0.27,<1",
            "schemathesis>=4,<5",
            "xgboost-cpu>=3,<4; sys_platform == 'linux'",  # its metrics, in the tests of conventions
            "ruff>=0.9,<1",
            "mypy>=1.14,<3",
            "import-linter>=2.11,<3",
            "types-PyYAML>=6",
            "build>=1.2,<2",
            "pre-commit>=4,<5",
        ],
    },
    entry_points={"console_scripts": ["ml4ir-losses = ml4ir_losses.cli:main"]},
)
