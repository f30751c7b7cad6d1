import os
import types

import keras
import pytest

from keras_epsanet.ops import processor


@pytest.mark.parametrize(
    "allowed, has_avx512, lanes",
    [
        (None, True, 16),
        (None, False, 8),
        ("ALL", True, 16),
        ("default", True, 16),
        ("AVX2", True, 8),
        ("AVX512_CORE", True, 16),
        ("AVX512_CORE", False, 8),
        ("SSE41", True, 8),
    ],
)
def test_lanes_are_those_that_the_processor_has_and_onednn_may_use(
    monkeypatch, allowed, has_avx512, lanes
):
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    if allowed:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", allowed)
    monkeypatch.setattr(processor, "_has_avx512", lambda: has_avx512)
    assert processor.vector_lanes() == lanes


def cpuinfo():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return file.read()
    except OSError:
        pytest.skip("no list of the processor's features here")


def test_the_processor_is_asked():
    wanted = {"avx512f", "avx512cd", "avx512vl", "avx512bw", "avx512dq"}
    assert processor._has_avx512() == (wanted <= set(cpuinfo().split()))


def test_the_name_is_that_of_the_system():
    content = cpuinfo()
    if "model name" not in content:
        pytest.skip("a processor without a name")
    name = processor.processor_name()
    assert name and f": {name}\n" in content


def test_a_system_without_such_a_file_names_the_architecture(monkeypatch):
    def refuse(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr(processor.platform, "processor", lambda: "")
    monkeypatch.setattr(processor.platform, "machine", lambda: "arm64")
    assert processor.processor_name() == "arm64"


def test_threads_are_those_that_the_backend_has(monkeypatch):
    for name in ("TF_NUM_INTRAOP_THREADS", "NPROC"):
        monkeypatch.delenv(name, raising=False)
    # Not the CPUs of the machine, of which a process may have a few.
    monkeypatch.setattr(os, "cpu_count", lambda: 99)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {4, 7, 9})
    assert processor.threads("jax") == 3
    monkeypatch.setenv("NPROC", "5")
    assert processor.threads("jax") == 5
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.delenv("NPROC")
    assert processor.threads("jax") == 99


def test_threads_of_tensorflow_are_those_that_it_was_given(monkeypatch):
    threading = pytest.importorskip("tensorflow").config.threading
    name = "get_intra_op_parallelism_threads"
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "5")
    for given, found in ((0, 5), (2, 2)):
        monkeypatch.setattr(threading, name, lambda given=given: given)
        assert processor.threads("tensorflow") == found


def test_threads_of_pytorch_are_those_that_it_was_given(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    assert processor.threads("torch") == 7


def test_a_gpu_has_the_name_that_the_backend_gives_it(monkeypatch):
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        monkeypatch.setattr(
            tf.config, "get_visible_devices", lambda kind: [kind]
        )
        monkeypatch.setattr(
            tf.config.experimental,
            "get_device_details",
            lambda device: {"device_name": f"Some {device}"},
        )
    elif backend == "jax":
        import jax

        some = types.SimpleNamespace(device_kind="Some GPU")
        monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
        monkeypatch.setattr(jax, "devices", lambda: [some])
    else:
        import torch

        device = types.SimpleNamespace(type="cuda")
        some = types.SimpleNamespace(device=device)
        monkeypatch.setattr(keras.ops, "zeros", lambda shape: some)
        monkeypatch.setattr(
            torch.cuda, "get_device_name", lambda x: x is device and "Some GPU"
        )
    assert processor.gpu_name() == "Some GPU"


def test_a_cpu_is_no_gpu(monkeypatch):
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [])
    elif backend == "jax":
        import jax

        monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    else:
        some = types.SimpleNamespace(device=types.SimpleNamespace(type="cpu"))
        monkeypatch.setattr(keras.ops, "zeros", lambda shape: some)
    assert processor.gpu_name() is None
