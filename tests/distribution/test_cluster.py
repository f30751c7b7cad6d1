import json

import pytest

from keras_epsanet.distribution import cluster
from keras_epsanet.distribution.cluster import find_cluster

VARIABLES = (
    *("TF_CONFIG", "TPU_NAME", "TPU_WORKER_HOSTNAMES", "WORLD_SIZE"),
    *("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"),
    "KERAS_DISTRIBUTION_NUM_PROCESSES",
)


def tf_config(workers):
    jobs = {"worker": [f"host{i}:1" for i in range(workers)]}
    return json.dumps({"cluster": jobs})


@pytest.fixture
def environment(monkeypatch):
    """Function that sets these variables of all, and no other."""

    def set_variables(variables):
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_variables


@pytest.mark.parametrize(
    "backend, variables, variable, processes",
    [
        ("tensorflow", {}, None, 1),
        ("tensorflow", {"TF_CONFIG": tf_config(2)}, "TF_CONFIG", 2),
        ("tensorflow", {"TF_CONFIG": tf_config(1)}, None, 1),
        (
            "tensorflow",
            {"SLURM_STEP_NUM_TASKS": "4"},
            "SLURM_STEP_NUM_TASKS",
            4,
        ),
        ("tensorflow", {"SLURM_STEP_NUM_TASKS": "1"}, None, 1),
        ("tensorflow", {"TPU_NAME": "local"}, "TPU_NAME", 1),
        # A script of Slurm may write TF_CONFIG for its tasks.
        (
            "tensorflow",
            {"TF_CONFIG": tf_config(2), "SLURM_STEP_NUM_TASKS": "2"},
            "TF_CONFIG",
            2,
        ),
        # All hosts of a pod belong to one TPU.
        (
            "tensorflow",
            {"TPU_NAME": "pod", "TPU_WORKER_HOSTNAMES": "a,b"},
            "TPU_NAME",
            1,
        ),
        ("jax", {}, None, 1),
        ("jax", {"TPU_NAME": "local"}, None, 1),
        ("jax", {"TPU_WORKER_HOSTNAMES": "a"}, None, 1),
        ("jax", {"TPU_WORKER_HOSTNAMES": "a,b"}, "TPU_WORKER_HOSTNAMES", 2),
        ("jax", {"SLURM_STEP_NUM_TASKS": "2"}, "SLURM_STEP_NUM_TASKS", 2),
        (
            "jax",
            {"KERAS_DISTRIBUTION_NUM_PROCESSES": "2"},
            "KERAS_DISTRIBUTION_NUM_PROCESSES",
            2,
        ),
        # torchrun's, and other programs'.
        ("jax", {"WORLD_SIZE": "2"}, None, 1),
        ("torch", {}, None, 1),
    ],
)
def test_the_environment_names_the_processes(
    backend, variables, variable, processes, environment
):
    environment(variables)
    found = find_cluster(backend)
    assert (found.variable, found.processes) == (variable, processes)
    for name in () if variable is None else (variable,):
        assert name in found.why


@pytest.mark.parametrize(
    "jobs, count",
    [
        ({"chief": ["a:1"], "worker": ["b:1", "c:1"]}, 3),
        ({"chief": ["a:1"], "worker": ["b:1"]}, 2),
        ({"worker": ["a:1", "b:1"], "ps": ["c:1"]}, 2),
        ({"chief": ["a:1"], "evaluator": ["b:1"]}, 1),
        ({}, 1),
    ],
)
def test_a_chief_is_a_worker_too(jobs, count, environment):
    environment({"TF_CONFIG": json.dumps({"cluster": jobs})})
    assert find_cluster("tensorflow").processes == count


@pytest.mark.parametrize(
    "backend, variables, message",
    [
        (
            "tensorflow",
            {"TF_CONFIG": tf_config(2), "SLURM_STEP_NUM_TASKS": "4"},
            "different processes.*TF_CONFIG=.*SLURM_STEP_NUM_TASKS=4",
        ),
        (
            "tensorflow",
            {"TF_CONFIG": tf_config(2), "TPU_NAME": "x"},
            "different processes.*TF_CONFIG=.*TPU_NAME=x",
        ),
        (
            "tensorflow",
            {"KERAS_DISTRIBUTION_NUM_PROCESSES": "2"},
            "With tensorflow .*TF_CONFIG or SLURM.*Received: KERAS_DIST.*=2",
        ),
        (
            "jax",
            {"TF_CONFIG": tf_config(2)},
            "With jax .*KERAS_DISTRIBUTION_NUM_PR.*Received: TF_CONFIG=",
        ),
        (
            "jax",
            {
                "SLURM_STEP_NUM_TASKS": "3",
                "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
            },
            "different processes.*NUM_TASKS=3, KERAS_DISTRIBUTION.*=2",
        ),
        ("torch", {"WORLD_SIZE": "2"}, "one device.*Received: WORLD_SIZE=2"),
        ("torch", {"SLURM_STEP_NUM_TASKS": "2"}, "one device.*NUM_TASKS=2"),
        ("jax", {"SLURM_STEP_NUM_TASKS": "two"}, "NUM_TASKS must be.*=two"),
        ("tensorflow", {"TF_CONFIG": "{"}, "must be JSON.*TF_CONFIG={"),
    ],
)
def test_contradictions_are_refused_by_name(
    backend, variables, message, environment
):
    environment(variables)
    with pytest.raises(ValueError, match=message):
        find_cluster(backend)


def test_a_batch_script_is_told_of_srun(environment):
    environment({"SLURM_NTASKS": "4"})
    found = find_cluster("tensorflow")
    assert "allotted 4 tasks, but" in found.why and found.is_surprising
    environment({"SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "1"})
    assert not find_cluster("tensorflow").is_surprising


@pytest.mark.parametrize("tasks, refused", [("1", False), ("2", True)])
def test_what_trains_in_one_process_refuses_others(
    tasks, refused, environment, monkeypatch
):
    monkeypatch.setattr(cluster.keras.backend, "backend", lambda: "jax")
    environment({"SLURM_STEP_NUM_TASKS": tasks})
    if not refused:
        cluster.check_one_process("A classifier")
        return
    message = "^A classifier runs on one .*SLURM_STEP_NUM_TASKS=2$"
    with pytest.raises(ValueError, match=message):
        cluster.check_one_process("A classifier")


@pytest.mark.parametrize(
    "variables", [{"SLURM_NTASKS": "1"}, {"SLURM_NTASKS": "many"}, {}]
)
def test_who_is_alone_is_not_surprised(variables, environment):
    environment(variables)
    found = find_cluster("tensorflow")
    assert not found.is_surprising and "nothing in the env" in found.why


def test_empty_variables_name_nobody(environment):
    environment(dict.fromkeys(VARIABLES, ""))
    for backend in ("tensorflow", "jax", "torch"):
        assert find_cluster(backend)[:2] == (None, 1)
