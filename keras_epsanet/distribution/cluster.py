"""Which processes train one model together, as their environment says."""

import json
import os
from typing import NamedTuple

import keras

# The variables by which those who start processes tell them of one another.
TF_CONFIG = "TF_CONFIG"
SLURM = "SLURM_STEP_NUM_TASKS"
TPU = "TPU_NAME"
TPU_HOSTS = "TPU_WORKER_HOSTNAMES"
KERAS = "KERAS_DISTRIBUTION_NUM_PROCESSES"
TORCHRUN = "WORLD_SIZE"

_READ_BY = {
    "tensorflow": (TF_CONFIG, SLURM, TPU),
    "jax": (KERAS, SLURM, TPU_HOSTS),
}


class Cluster(NamedTuple):
    """Processes that train one model.

    Attributes:
        variable: String, the variable of the environment that names them, or
            `None` for a process that trains alone.
        processes: Integer, how many they are. With `TPU` it is 1: the hosts
            of a TPU belong to its strategy.
        why: String, a sentence about it, for people.
        is_surprising: Whether a process trains alone that may not be meant to.
    """

    variable: str | None
    processes: int
    why: str
    is_surprising: bool = False


def find_cluster(backend):
    """Reads which processes train together from the environment.

    Kubernetes' TFJob and Vertex AI set TF_CONFIG; Slurm's `srun` sets
    SLURM_STEP_NUM_TASKS, of which a process in a batch script by itself has
    none; TPU_NAME is a Cloud TPU's. `keras.distribution.initialize` names
    KERAS_DISTRIBUTION_NUM_PROCESSES.

    Args:
        backend: String, Keras' backend.

    Returns:
        `Cluster`.

    Raises:
        ValueError: If a variable cannot be read, two of them contradict each
            other, or the backend cannot train with what they name.
    """
    found = {
        TF_CONFIG: _workers_of_tf_config(),
        SLURM: _number(SLURM),
        KERAS: _number(KERAS),
        TORCHRUN: _number(TORCHRUN),
        TPU_HOSTS: len(os.environ.get(TPU_HOSTS, "").split(",")),
    }
    found = {name: count for name, count in found.items() if count > 1}
    if os.environ.get(TPU):
        found[TPU] = 1
    if backend != "tensorflow":
        found.pop(TPU, None)  # JAX finds a TPU by itself.
    else:
        found.pop(TPU_HOSTS, None)  # All hosts of a pod have one TPU_NAME.
    if backend != "torch":
        found.pop(TORCHRUN, None)  # Of other programs too.
    _check(found, backend)
    for variable in _READ_BY.get(backend, ()):
        if variable in found:
            return Cluster(variable, found[variable], _why(variable, found))
    return _alone()


def check_one_process(what):
    """Raises unless this process trains alone.

    Args:
        what: String, what does, the subject of the message.

    Raises:
        ValueError: If the environment names several processes.
    """
    cluster = find_cluster(keras.backend.backend())
    if cluster.processes > 1:
        raise ValueError(
            f"{what} runs on one machine, in one process. Received: "
            f"{cluster.variable}={os.environ[cluster.variable]}"
        )


def _check(found, backend):
    unread = [name for name in found if name not in _READ_BY.get(backend, ())]
    if unread and backend == "torch":
        raise ValueError(
            "Keras trains on one device with PyTorch: several processes need "
            f"TensorFlow or JAX. Received: {_received(unread)}"
        )
    if unread:
        raise ValueError(
            f"With {backend} processes are found by "
            f"{' or '.join(_READ_BY[backend])}. Unset the other variable or "
            f"change KERAS_BACKEND. Received: {_received(unread)}"
        )
    if len(set(found.values())) > 1:  # A TPU beside others too, being 1.
        raise ValueError(
            "The environment names different processes that train together: "
            f"unset what is not meant. Received: {_received(found)}"
        )


def _received(names):
    return ", ".join(f"{name}={os.environ[name]}" for name in names)


def _why(variable, found):
    if variable == TPU:
        return f"on the TPU that {TPU} names, {os.environ[TPU]}"
    return f"with {found[variable]} processes, which {variable} names"


def _alone():
    allotted = os.environ.get("SLURM_NTASKS", "1")
    if allotted.isdecimal() and int(allotted) > 1 and SLURM not in os.environ:
        why = (
            f"in one process: Slurm has allotted {allotted} tasks, but the "
            "program was not started by srun, which starts all of them"
        )
        return Cluster(None, 1, why, is_surprising=True)
    why = "in one process: nothing in the environment names others"
    return Cluster(None, 1, why)


def _number(name):
    text = os.environ.get(name) or "1"
    if not text.isdecimal():
        raise ValueError(
            f"{name} must be a number of processes. Received: {name}={text}"
        )
    return int(text)


def _workers_of_tf_config():
    text = os.environ.get(TF_CONFIG) or "{}"
    try:
        cluster = json.loads(text).get("cluster", {})
        return sum(len(cluster.get(job, ())) for job in ("chief", "worker"))
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            "TF_CONFIG must be JSON such as "
            '{"cluster": {"worker": ["host:port", "host:port"]}, '
            '"task": {"type": "worker", "index": 0}}. '
            f"Received: TF_CONFIG={text}"
        ) from error
