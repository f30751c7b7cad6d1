import json

import keras
import pytest

from keras_epsanet.graph import form_file
from keras_epsanet.ops.forms import Forms, Problem
from keras_epsanet.ops.layouts import Pyramid

ENTRY = (Forms((2, 2), (1, 4)), 0.75, 1.0)


def test_what_is_written_is_read_and_added_to(tmp_path):
    path = str(tmp_path / "forms.json")
    assert form_file.read(path) == {}
    form_file.write(path, {"a": ENTRY})
    other = (Forms((1, 1), (4, 4)), 1.0, 0.5)
    form_file.write(path, {"b": other})
    assert form_file.read(path) == {"a": ENTRY, "b": other}
    assert [x.name for x in tmp_path.iterdir()] == ["forms.json"]


def test_each_machine_has_entries_of_its_own(tmp_path, monkeypatch):
    path = str(tmp_path / "forms.json")
    form_file.write(path, {"a": ENTRY})
    with monkeypatch.context() as other:
        other.setattr(form_file, "processor_name", lambda: "Another")
        assert "Another" in form_file.machine()
        assert form_file.read(path) == {}
        form_file.write(path, {"b": ENTRY})
        assert form_file.read(path) == {"b": ENTRY}
    assert form_file.read(path) == {"a": ENTRY}


def test_a_machine_is_its_processor_threads_versions_and_settings(monkeypatch):
    def machine(**changes):
        with monkeypatch.context() as other:
            for name, value in changes.items():
                other.setattr(form_file, name, value)
            return form_file.machine()

    found = machine()
    assert found == machine()
    assert found != machine(processor_name=lambda: "another")
    lanes = form_file.vector_lanes()
    assert found != machine(vector_lanes=lambda: 24 - lanes)
    assert ", 99 threads, " in machine(threads=lambda backend: 99)
    if keras.backend.backend() == "tensorflow":
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "7")
        assert "oneDNN 7" in form_file.machine()


def test_a_convolution_is_described_by_all_that_it_depends_on():
    problem = Problem((5, 3, 8, 32), (2, 1), 4, (28, 27), "bfloat16")
    assert form_file.describe(problem, 16) == (
        "5×3 of 4 groups, strides 2×1, 32 to 32 channels, 28×27 out, "
        "batch 16, bfloat16"
    )


PYRAMID = Pyramid(
    (28, 27, 64),
    32,
    (3, 5),
    (1, 4),
    (2, 1),
    False,
    "channels_last",
    "bfloat16",
)


def test_a_pyramid_is_described_by_all_that_its_time_depends_on():
    name = form_file.describe(PYRAMID, 16)
    assert name == (
        "3×3 of 1 groups, 5×5 of 4 groups, strides 2×1, 28×27×64 "
        "channels_last to 32 channels, batch 16, bfloat16"
    )
    assert form_file.describe(PYRAMID, 16, jit=True) == f"{name}, compiled"
    split = form_file.describe(PYRAMID._replace(split_input=True), 16)
    assert "channels, split input, batch" in split


def test_layouts_are_written_and_read_by_the_name_of_the_gpu(
    tmp_path, monkeypatch
):
    path = str(tmp_path / "forms.json")
    form_file.write(path, {"a": ENTRY})
    layout = ("channels_first", 0.5, 0.25)
    with monkeypatch.context() as other:
        other.setattr(form_file, "gpu_name", lambda: "Some GPU")
        backend = keras.backend.backend()
        assert form_file.machine().startswith(f"Some GPU, {backend} ")
        assert form_file.machine()[-1].isalnum() or backend == "tensorflow"
        form_file.write(path, {"b": layout})
        assert form_file.read(path) == {"b": layout}
    assert form_file.read(path) == {"a": ENTRY}


def test_entries_in_a_storage_are_added_to(tmp_path):
    tf = pytest.importorskip("tensorflow")
    folder = f"ram://test_form_file/{tmp_path.name}"
    tf.io.gfile.makedirs(folder)
    path = f"{folder}/forms.json"
    form_file.write(path, {"a": ENTRY})
    form_file.write(path, {"b": ENTRY})
    assert form_file.read(path) == {"a": ENTRY, "b": ENTRY}


@pytest.mark.parametrize(
    "content",
    [
        "no JSON",
        "[]",
        "[1, 2]",
        '{"MACHINE": [1]}',
        '{"MACHINE": {"a": 1}}',
        '{"MACHINE": {"a": {"outputs": [1, 1]}}}',
        '{"MACHINE": {"a": {"outputs": [1, 3], "kernel_gradient": [1, 1], '
        '"forward": 1, "step": 1}}}',
        '{"MACHINE": {"a": {"outputs": [1], "kernel_gradient": [1, 1], '
        '"forward": 1, "step": 1}}}',
        '{"MACHINE": {"a": {"layout": "NCHW", "forward": 1, "step": 1}}}',
        '{"MACHINE": {"a": {"layout": "channels_last", "forward": 1}}}',
    ],
)
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "forms.json"
    machine = json.dumps(form_file.machine())[1:-1]
    path.write_text(content.replace("MACHINE", machine))
    with pytest.raises(ValueError, match="autotune.*Received: file=.*forms"):
        form_file.read(str(path))


def test_the_file_is_in_keras_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert form_file.default_path().startswith(str(tmp_path))


def test_a_folder_is_no_file_and_is_made_for_one(tmp_path):
    with pytest.raises(ValueError, match="autotune.*Received: file="):
        form_file.read(str(tmp_path))
    path = str(tmp_path / "new/forms.json")
    form_file.write(path, {"a": ENTRY})
    assert form_file.read(path) == {"a": ENTRY}
