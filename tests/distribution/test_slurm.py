import keras
import pytest

from keras_epsanet.distribution import slurm

if keras.backend.backend() != "tensorflow":
    pytest.skip("resolves TensorFlow's workers", allow_module_level=True)

# Two tasks on node2, one on node10, as srun sets it for the last one.
STEP = {
    "SLURM_JOB_ID": "1000",
    "SLURM_STEP_NUM_TASKS": "3",
    "SLURM_STEP_NODELIST": "node[2,10]",
    "SLURM_STEP_TASKS_PER_NODE": "2,1",
    "SLURM_PROCID": "2",
    "SLURMD_NODENAME": "node10",
    "SLURM_LOCALID": "0",
}


@pytest.fixture
def step(monkeypatch):
    """Function that sets the variables of a task, and resolves it."""

    def resolve(**changes):
        for name, value in {**STEP, **changes}.items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)
        return slurm.make_resolver()

    return resolve


def test_every_task_has_the_same_addresses_and_its_own_place(step):
    places = {}
    for rank, node, local in (
        ("0", "node2", "0"),
        ("1", "node2", "1"),
        ("2", "node10", "0"),
    ):
        resolver = step(
            SLURM_PROCID=rank, SLURMD_NODENAME=node, SLURM_LOCALID=local
        )
        addresses = resolver.cluster_spec().as_dict()["worker"]
        assert resolver.task_type == "worker"
        places[addresses[resolver.task_id]] = rank
        assert sorted(addresses) == sorted(
            ["node10:24000", "node2:24000", "node2:24001"]
        )
    assert places == {
        "node2:24000": "0",
        "node2:24001": "1",
        "node10:24000": "2",
    }


def test_jobs_at_a_time_have_ports_of_their_own(step):
    ports = set()
    for job in range(100):
        spec = step(SLURM_JOB_ID=str(1000 + job)).cluster_spec()
        ports |= {x.rpartition(":")[2] for x in spec.job_tasks("worker")}
    assert len(ports) == 200
    assert all(20_000 <= int(port) < 32_000 for port in ports)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"SLURM_JOB_ID": None}, "srun sets SLURM_JOB_ID, which is missing"),
        ({"SLURMD_NODENAME": None}, "srun sets SLURMD_NODENAME"),
        ({"SLURMD_NODENAME": "node3"}, "SLURMD_NODENAME=node3"),
        ({"SLURM_LOCALID": "1"}, "SLURM_LOCALID=1, SLURMD_NODENAME=node10"),
        (
            {
                "SLURM_STEP_NUM_TASKS": "17",
                "SLURM_STEP_NODELIST": "node10",
                "SLURM_STEP_TASKS_PER_NODE": "17",
            },
            "at most 16 tasks",
        ),
    ],
)
def test_a_broken_environment_is_refused(changes, message, step):
    with pytest.raises(ValueError, match=message):
        step(**changes)


class Gpus:
    """Stands for the GPUs of a node, all of which its tasks see."""

    def __init__(self, monkeypatch, count):
        import tensorflow as tf

        self.visible = self.all = [f"GPU:{i}" for i in range(count)]
        monkeypatch.setattr(
            tf.config, "list_physical_devices", lambda kind: self.all
        )
        monkeypatch.setattr(tf.config, "set_visible_devices", self.set)

    def set(self, devices, kind):
        assert kind == "GPU"
        self.visible = devices


NODE2 = {"SLURMD_NODENAME": "node2", "SLURM_PROCID": "1", "SLURM_LOCALID": "1"}


def test_the_tasks_of_a_node_divide_its_gpus(step, monkeypatch):
    gpus = Gpus(monkeypatch, 5)
    resolver = step(**NODE2)
    assert gpus.visible == ["GPU:2", "GPU:3"]
    assert resolver.num_accelerators() == {"GPU": 2}
    resolver = step()  # The only task of its node.
    assert resolver.num_accelerators() == {"GPU": 5}


def test_gpus_that_slurm_has_bound_to_a_task_are_its_own(step, monkeypatch):
    gpus = Gpus(monkeypatch, 2)
    resolver = step(**NODE2, SLURM_GPUS_PER_TASK="2")
    assert resolver.num_accelerators() == {"GPU": 2}
    assert gpus.visible == gpus.all


def test_more_tasks_than_gpus_are_refused(step, monkeypatch):
    Gpus(monkeypatch, 1)
    with pytest.raises(ValueError, match="Received: 2 tasks, 1 GPUs"):
        step(**NODE2)
