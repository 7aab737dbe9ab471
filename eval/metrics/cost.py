"""What a result costs: the time and the memory that colouring it took, as the thesis' Table 5.5 has them.

They depend on the machine and on the batch, and are no part of what two runs must agree in.
"""

from torch import Tensor

from eval.metrics.metric import Metric, means


def _seconds(result: Tensor, seconds: Tensor) -> dict[str, Tensor]:
    return {"seconds": seconds}


def _memory(result: Tensor, memory_mib: Tensor) -> dict[str, Tensor]:
    return {"memory_mib": memory_mib}


SECONDS = Metric(
    name="seconds",
    title="time a picture",
    needs=("seconds",),
    measure=_seconds,
    summarize=means(),
    scores="seconds",
    better="lower",
    unit="s",
    meaning="how long the model took for a picture of its batch, on the machine that scored it",
    source="thesis Table 5.5",
)
MEMORY = Metric(
    name="memory_mib",
    title="memory",
    needs=("memory_mib",),
    measure=_memory,
    summarize=means(),
    scores="memory_mib",
    better="lower",
    unit="MiB",
    meaning="the most memory in use while it was coloured, other networks included: of the GPU, or of the process",
    source="ours",
)
