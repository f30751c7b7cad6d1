"""The workers that Slurm's `srun` has started, for TensorFlow."""

import os

# Ports of the first task of a job on a node, below those that systems hand
# out by themselves. A node has one for each of 16 tasks.
_FIRST_PORT, _LAST_PORT, _TASKS = 20_000, 32_000, 16


def make_resolver():
    """Makes the resolver of this process for MultiWorkerMirroredStrategy.

    Where the tasks of a node see the same GPUs, each takes its part of them:
    call it before TensorFlow uses any.

    TensorFlow's `SlurmClusterResolver` reads the nodes. It is not used as it
    is, for it counts tasks in the order of the nodes' names, in which node10
    comes before node2, fails on nodes without a GPU, and has the same ports
    for all jobs. The place of a task follows from its node and its number
    there.

    Returns:
        `tf.distribute.cluster_resolver.SimpleClusterResolver`.

    Raises:
        ValueError: If a variable of Slurm is missing, a node has more tasks
            than 16, or more than GPUs.
    """
    import tensorflow as tf

    resolvers = tf.distribute.cluster_resolver
    tasks = int(_read("SLURM_STEP_NUM_TASKS"))
    port = _port_of_job(int(_read("SLURM_JOB_ID")))
    for name in ("SLURM_PROCID", "SLURM_STEP_NODELIST"):
        _read(name)
    slurm = resolvers.SlurmClusterResolver(
        tasks_per_node=None,
        port_base=port,
        gpus_per_node=tasks,  # Else nvidia-smi is asked.
        gpus_per_task=1,
        auto_set_gpu=False,
    )
    spec = slurm.cluster_spec()
    here, place = _read("SLURMD_NODENAME"), int(_read("SLURM_LOCALID"))
    addresses = spec.job_tasks("worker")
    of_node = [x for x in addresses if x.rpartition(":")[0] == here]
    if place >= len(of_node) or len(of_node) > _TASKS:
        raise ValueError(
            f"A node has at most {_TASKS} tasks, and SLURM_LOCALID is below "
            "their number. Received: "
            f"SLURM_LOCALID={place}, SLURMD_NODENAME={here}, "
            f"addresses={addresses}"
        )
    return resolvers.SimpleClusterResolver(
        spec,
        task_type="worker",
        task_id=addresses.index(f"{here}:{port + place}"),
        num_accelerators={"GPU": _take_gpus(place, len(of_node))},
        rpc_layer="grpc",
    )


def _port_of_job(job):
    jobs = (_LAST_PORT - _FIRST_PORT) // _TASKS
    return _FIRST_PORT + _TASKS * (job % jobs)


def _take_gpus(place, tasks):
    """Leaves this task its part of the GPUs that it sees, and counts them."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    bound = {"SLURM_GPUS_PER_TASK", "SLURM_TRES_PER_TASK"} & set(os.environ)
    if not gpus or tasks == 1 or bound:
        return len(gpus)
    share = len(gpus) // tasks
    if not share:
        raise ValueError(
            "Each task needs a GPU of its own: start as many tasks on a node "
            f"as it has GPUs. Received: {tasks} tasks, {len(gpus)} GPUs"
        )
    mine = gpus[place * share : (place + 1) * share]
    tf.config.set_visible_devices(mine, "GPU")
    return len(mine)


def _read(name):
    if not os.environ.get(name):
        raise ValueError(
            f"srun sets {name}, which is missing. Received: "
            f"SLURM_STEP_NUM_TASKS={os.environ.get('SLURM_STEP_NUM_TASKS')}"
        )
    return os.environ[name]
