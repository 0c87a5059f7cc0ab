"""The section `training.distribution`: training on several devices, processes or machines."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ml4ir_losses.config.base import Strict


class OneDevice(Strict):
    """One process on one device."""

    strategy: Literal["none"] = "none"


class _Replicas(Strict):
    """Batch size and learning rate where several devices train on parts of a batch."""

    batch_size: Literal["global", "per_replica"] = Field(
        "global", description="what data.batch_size counts: queries of the whole batch, or of the part of one device"
    )
    learning_rate: Literal["constant", "linear", "sqrt"] = Field(
        "constant", description="constant, or times the number of devices, or times its square root"
    )

    @model_validator(mode="after")
    def _check_rule(self) -> Self:
        if self.learning_rate != "constant" and self.batch_size == "global":
            raise ValueError(
                f"learning_rate: {self.learning_rate} needs batch_size: per_replica; a global batch stays as it is, "
                "however many devices share it"
            )
        return self


class _Processes(_Replicas):
    """Several processes, which wait for each other."""

    shard: Literal["batches", "files"] = Field(
        "batches",
        description="batches: every process reads all data and trains on its part of each batch; files: it reads its "
        "own files of data.train",
    )
    timeout: float = Field(300.0, gt=0, description="seconds after which a process that does not answer is given up")


class Mirrored(_Replicas):
    """TensorFlow: the devices of this machine, each with a copy of the model."""

    strategy: Literal["mirrored"]
    devices: int | None = Field(None, ge=1, description="number of devices; all GPUs if omitted")


class MultiWorker(_Processes):
    """TensorFlow: the processes that TF_CONFIG lists, on one machine or many."""

    strategy: Literal["multi_worker"]


class DataParallel(_Processes):
    """JAX: the devices of this process. torch: the processes of torchrun, or local ones that are started."""

    strategy: Literal["data_parallel"]
    devices: int | None = Field(None, ge=1, description="JAX: number of devices; all if omitted")
    workers: int | None = Field(
        None, ge=1, description="torch: number of local processes that are started; those of torchrun if omitted"
    )


def _inside(address: str) -> str:
    if address.startswith("ray://"):
        raise ValueError(
            f"{address}: Ray Train cannot be used through a client; run the command on a machine of the cluster with "
            "address: auto, or as a job of the cluster (ray job submit)"
        )
    return address


class RayTrain(_Processes):
    """Processes that Ray Train starts, and starts again when one is lost."""

    strategy: Literal["ray"]
    workers: int = Field(ge=1, description="number of processes")
    address: Annotated[str, AfterValidator(_inside)] | None = Field(
        None, description="of a Ray cluster; the one in RAY_ADDRESS or a local one if omitted"
    )
    resources: dict[str, float] = Field(
        default_factory=dict, description="what each process needs, such as {CPU: 4, GPU: 1}; one CPU if omitted"
    )
    retries: int = Field(3, ge=0, description="how often the processes are started again after one is lost")


def reads_own_files(distribution: OneDevice | _Replicas) -> bool:
    """True where each process reads its own files of the training split."""
    return isinstance(distribution, _Processes) and distribution.shard == "files"


def _expand_strategy(value: Any) -> Any:
    """`mirrored` is short for `{strategy: mirrored}`."""
    return {"strategy": value} if isinstance(value, str) else value


AnyDistribution = OneDevice | Mirrored | MultiWorker | DataParallel | RayTrain
STRATEGIES: list[str] = [get_args(kind.model_fields["strategy"].annotation)[0] for kind in get_args(AnyDistribution)]

Distribution = Annotated[
    Annotated[AnyDistribution, Field(discriminator="strategy")],
    BeforeValidator(_expand_strategy, json_schema_input_type=AnyDistribution | str),
]


def ignored(distribution: AnyDistribution, command: str) -> str:
    """One line that a command trains on one device, where a config asks for several; else empty."""
    if isinstance(distribution, OneDevice):
        return ""
    return f"training.distribution: {command} does not read it, and trains each config on one device"
