"""What the processors of this machine are called, and a CPU's vectors."""

import os
import platform

import keras


def processor_name():
    """Returns the name of the CPU, such as `"AMD EPYC"`."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def gpu_name():
    """Returns the name of the GPU that the backend computes on, or `None`."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        for device in tf.config.get_visible_devices("GPU"):
            details = tf.config.experimental.get_device_details(device)
            return details.get("device_name", "GPU")
    elif backend == "jax":
        import jax

        if jax.default_backend() == "gpu":
            return jax.devices()[0].device_kind
    else:
        import torch

        device = keras.ops.zeros(()).device
        if device.type == "cuda":
            return torch.cuda.get_device_name(device)
    return None


def threads(backend):
    """Returns how many threads a backend computes an operation with.

    Args:
        backend: String, `"tensorflow"`, `"jax"` or `"torch"`.
    """
    variable = "NPROC"
    if backend == "torch":
        import torch

        return torch.get_num_threads()
    if backend == "tensorflow":
        import tensorflow as tf

        variable = "TF_NUM_INTRAOP_THREADS"
        number = tf.config.threading.get_intra_op_parallelism_threads()
        if number > 0:
            return number
    number = os.environ.get(variable, "")
    if number.isdecimal() and int(number):
        return int(number)
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # There is none on macOS and Windows.
        return os.cpu_count()


def vector_lanes():
    """Returns the lanes of a float32 vector: 16 with AVX-512, else 8.

    Those that oneDNN uses, which can be told to leave AVX-512 alone.
    """
    allowed = os.environ.get("ONEDNN_MAX_CPU_ISA", "ALL").upper()
    if allowed not in ("ALL", "DEFAULT") and "AVX512" not in allowed:
        return 8
    return 16 if _has_avx512() else 8


def _has_avx512():
    # NumPy finds out by itself, on every system, to choose its own loops.
    try:
        from numpy._core._multiarray_umath import __cpu_features__
    except ImportError:  # NumPy 1.
        from numpy.core._multiarray_umath import __cpu_features__
    return bool(__cpu_features__.get("AVX512_SKX"))
