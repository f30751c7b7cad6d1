"""Which devices train, and how they share the work."""

import keras

from keras_epsanet.distribution import slurm
from keras_epsanet.distribution.cluster import SLURM, TPU, find_cluster
from keras_epsanet.distribution.replicas import num_replicas


def make_strategy(devices=None):
    """Makes all devices of this machine, or of several, train one model.

    Build, load and compile the model in its scope. Each batch is divided
    among the devices; gradients are summed, and `SGDL2` clips the sum.

    What the environment names is taken first:

    - TensorFlow, TF_CONFIG (Kubernetes' TFJob, Vertex AI) or `srun` of Slurm
      names several workers: `MultiWorkerMirroredStrategy`. Every worker runs
      the same program with its own index; call this before anything else of
      TensorFlow. The first worker's initial weights go to all. See also
      `is_chief`.
    - TensorFlow, TPU_NAME: `TPUStrategy`.
    - JAX, `srun`, the hosts of a TPU pod, or the variables of
      `keras.distribution.initialize`, KERAS_DISTRIBUTION_NUM_PROCESSES,
      …_PROCESS_ID and …_JOB_ADDRESSES: it is called, unless it was, and all
      devices of all hosts share the work. `fit` of a `tf.data.Dataset` gives
      every process its part.

    Then the devices of this machine:

    - TensorFlow, several GPUs, or several logical CPUs and no GPU:
      `MirroredStrategy`.
    - TensorFlow, one device: the default strategy, which does nothing.
    - JAX: `keras.distribution.DataParallel`, which also becomes the global
      distribution if there are several devices; `fit` needs batches that they
      can divide evenly.

    Where several devices or processes train, it prints which, and why.

    With several workers `fit` divides a `tf.data.Dataset` by files if there
    are as many files as workers, and otherwise lets every worker read all of
    it and keep its part. A dataset that divides itself comes from
    `strategy.distribute_datasets_from_function`. Every worker must take the
    same number of batches, so `repeat()` it and give `steps_per_epoch`.
    Batches to evaluate come from `keras_epsanet.distribution.divide_batches`.
    Metrics are sums over all workers, to be read by all of them at the same
    time, as Keras does at the end of an epoch; a callback of one worker only
    can save the model but must not read `model.metrics`.

    Args:
        devices: List of names, such as `["GPU:0", "GPU:1"]` or, on JAX,
            `["gpu:0"]`; `None` means all. Not for several workers, which use
            all of their GPUs.

    Returns:
        `tf.distribute.Strategy`, or `keras.distribution.DataParallel` on JAX.
        Both have `scope()`; `num_replicas` counts their devices.

    Raises:
        ValueError: If a device is unknown, variables of the environment
            cannot be read or contradict one another or the backend, or the
            backend is PyTorch.

    Example:

    >>> strategy = make_strategy()
    >>> with strategy.scope():
    ...     model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> num_replicas(strategy)
    1
    """
    backend = keras.backend.backend()
    cluster = find_cluster(backend)
    if backend not in ("tensorflow", "jax"):
        raise ValueError(
            "Training on several devices needs TensorFlow or JAX. Received: "
            f"KERAS_BACKEND={backend}"
        )
    if cluster.variable and devices is not None:
        raise ValueError(
            "Each of several workers uses all of its devices. Received: "
            f"devices={devices}, and {cluster.variable} in the environment"
        )
    if backend == "jax":
        strategy = _make_jax_distribution(cluster, devices)
    elif cluster.variable == TPU:
        strategy = _make_tpu_strategy()
    elif cluster.processes > 1:
        strategy = _make_workers_strategy(cluster)
    else:
        strategy = _make_strategy_of_machine(devices)
    devices = num_replicas(strategy)
    if devices > 1 or cluster.is_surprising:
        noun = "devices train" if devices > 1 else "device trains"
        print(f"{devices} {noun} {cluster.why}.")
    return strategy


def _make_workers_strategy(cluster):
    import tensorflow as tf

    strategy = _for_keras(tf.distribute.MultiWorkerMirroredStrategy)
    if cluster.variable == SLURM:
        return strategy(cluster_resolver=slurm.make_resolver())
    return strategy()


def _make_tpu_strategy():
    import tensorflow as tf

    resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect()
    return tf.distribute.TPUStrategy(resolver)


def _make_strategy_of_machine(devices):
    import tensorflow as tf

    mirrored = _for_keras(tf.distribute.MirroredStrategy)
    known = tf.config.list_logical_devices("GPU")
    known = known or tf.config.list_logical_devices("CPU")
    if devices is not None:
        everything = tf.config.list_logical_devices()
        _check_devices(
            devices, [device.name.split("device:")[1] for device in everything]
        )
        return mirrored(devices)
    if len(known) > 1:
        return mirrored([x.name for x in known])
    return tf.distribute.get_strategy()


def is_chief(strategy):
    """Whether this process is the one that writes files and prints.

    Args:
        strategy: What `make_strategy` returned.

    Returns:
        `True` in the first worker's process, and where there is only one.
    """
    if isinstance(strategy, keras.distribution.DataParallel):
        import jax

        return jax.process_index() == 0
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    if "chief" in resolver.cluster_spec().jobs:
        return resolver.task_type == "chief"
    return resolver.task_type == "worker" and resolver.task_id == 0


def any_worker(strategy):
    """Makes a function that several workers call to agree.

    Args:
        strategy: What `make_strategy` returned.

    Returns:
        Function of a boolean that returns whether any worker called it with
        `True`. It waits until all have called it.

    Example:

    >>> import tensorflow as tf
    >>> any_worker(tf.distribute.get_strategy())(True)
    True
    """
    resolver = getattr(strategy, "cluster_resolver", None)
    if resolver is None or not resolver.task_type:
        return bool
    import tensorflow as tf

    @tf.function
    def total(flag):
        return strategy.reduce("SUM", strategy.run(lambda: flag), axis=None)

    return lambda flag: bool(total(tf.constant(float(flag))) > 0)


def _check_devices(devices, known):
    unknown = {name.upper() for name in devices} - {x.upper() for x in known}
    if not devices or unknown:
        raise ValueError(
            f"`devices` must be some of {known}. Received: devices={devices}"
        )


def _for_keras(cls):
    """The class of a strategy, with what Keras 3.15 asks of its `reduce`.

    At their start `fit` and `evaluate` reduce a batch to learn its shapes
    and types, though a batch may be divided unevenly; several workers reduce
    the metrics after each step, along an axis that they do not have.
    """
    import tensorflow as tf

    workers = issubclass(cls, tf.distribute.MultiWorkerMirroredStrategy)
    means = ("MEAN", tf.distribute.ReduceOp.MEAN)

    class Strategy(cls):
        def reduce(self, reduce_op, value, axis):
            def reduce_one(value):
                first, *others = self.experimental_local_results(value)
                if axis is None and any(
                    other.shape != first.shape for other in others
                ):
                    return first  # There is no sum either.
                along = axis
                if workers:
                    if reduce_op in means and not first.dtype.is_floating:
                        return first  # Of uint8 or strings.
                    along = axis if first.shape.rank else None
                return super(Strategy, self).reduce(reduce_op, value, along)

            return tf.nest.map_structure(reduce_one, value)

    return Strategy


def _make_jax_distribution(cluster, devices):
    import jax

    if cluster.variable and not jax.distributed.is_initialized():
        keras.distribution.initialize()
    known = keras.distribution.list_devices()
    if devices is not None:
        _check_devices(devices, known)
    distribution = keras.distribution.DataParallel(devices=devices or known)
    if num_replicas(distribution) > 1:
        keras.distribution.set_distribution(distribution)
    return distribution
