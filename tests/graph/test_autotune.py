import keras
import numpy as np
import pytest

import keras_epsanet
from keras_epsanet.graph import autotune as module
from keras_epsanet.ops import forms
from keras_epsanet.ops.forms import Forms

TUNED = Forms((4, 1), (1, 4))


@pytest.fixture
def timed(monkeypatch):
    """Convolutions that were timed, for which one form is the fastest."""
    calls = []

    def fastest(problem, before, batch_size, seconds):
        calls.append((problem, before, batch_size, seconds))
        return TUNED, 0.5, 0.75

    monkeypatch.setattr(module.form_timing, "fastest", fastest)
    yield calls
    forms.forget()


def find(problem):
    kernel = np.zeros(problem.kernel_shape, problem.dtype)
    return forms.find(kernel, *problem[1:4], lanes=8)


def make_model(shape=(16, 16, 8), **arguments):
    """PSA within a model within a model, twice of one shape."""
    inputs = keras.Input(shape)
    psa = keras_epsanet.layers.PSA(
        16, (3, 5), groups=(1, 4), reduction=2, **arguments
    )
    inner = keras.Model(inputs, psa(inputs))
    outputs = inner(inputs)
    outputs = keras_epsanet.layers.GroupedConv2D(8, 5, groups=4, **arguments)(
        keras_epsanet.layers.GroupedConv2D(8, 1, **arguments)(outputs)
    )
    return keras.Model(inputs, outputs)


def test_each_distinct_convolution_is_timed_once_and_kept(tmp_path, timed):
    path = tmp_path / "forms.json"
    model = make_model()
    images = np.random.default_rng(0).normal(size=(2, 16, 16, 8))
    expected = model.predict(images, verbose=0)
    tuning = keras_epsanet.autotune(
        model, batch_size=2, seconds=0.5, file=path, verbose=0
    )
    shapes = {
        problem.kernel_shape
        for problem, *_ in timed
        if problem.kernel_shape[:2] != (1, 1)
    }
    # One group is never in tiles.
    assert shapes == {(5, 5, 2, 8)}
    problem, before, *others = timed[-1]
    assert before != TUNED
    assert others == [2, 0.5]
    assert len(timed) == len({call[0] for call in timed})
    assert problem.output_sizes == (16, 16)

    assert all(row == (TUNED, 0.5, 0.75) for row in tuning.forms.values())
    assert find(problem) == TUNED
    timed.clear()
    again = keras_epsanet.autotune(model, batch_size=2, file=path)
    assert again == tuning and not timed
    # Another batch is another measurement.
    keras_epsanet.autotune(model, batch_size=3, file=path, verbose=0)
    assert timed
    # What was compiled before has other forms.
    model.train_function = model.test_function = len
    keras_epsanet.autotune(model, batch_size=2, file=path, verbose=0)
    assert model.train_function is model.test_function is None
    # The model computes in the new forms, and the same.
    with forms.asked_for() as asked:
        found = model.predict(images, verbose=0)
    assert asked[problem] == TUNED
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_second_measurement_compares_with_the_table_again(tmp_path, timed):
    model = make_model()
    for name in ("a.json", "b.json"):
        keras_epsanet.autotune(model, file=tmp_path / name, verbose=0)
    half = len(timed) // 2
    assert [x[:2] for x in timed[half:]] == [x[:2] for x in timed[:half]]


def test_a_table_and_lines_say_what_was_found(tmp_path, timed, capsys):
    tuning = keras_epsanet.autotune(make_model(), file=tmp_path / "f.json")
    line = (
        "5×5 of 4 groups, strides 1×1, 8 to 8 channels, 16×16 out, batch 16, "
        "float32: tiles 4×1, kernel's gradient 1×4; 0.50 of the time "
        "forward, 0.75 in training"
    )
    assert line in capsys.readouterr().out.splitlines()
    first, *lines = str(tuning).splitlines()
    assert first == tuning.machine and line in lines
    assert len(lines) == len(tuning.forms)


def test_open_sizes_are_given(tmp_path, timed):
    model = make_model((None, None, 8))
    path = tmp_path / "f.json"
    with pytest.raises(ValueError, match=r"all known.*input_shape=\(None, "):
        keras_epsanet.autotune(model, file=path)
    keras_epsanet.autotune(model, (12, 10, 8), file=path, verbose=0)
    assert {x[0].output_sizes for x in timed} == {(12, 10)}


@pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="tiles are for float32 there"
)
def test_mixed_precision_is_timed_as_it_computes(tmp_path, timed):
    model = make_model(dtype="mixed_bfloat16")
    assert model.layers[-1].compute_dtype == "bfloat16"
    keras_epsanet.autotune(model, file=tmp_path / "f.json", verbose=0)
    assert {x[0].dtype for x in timed} == {"bfloat16"}


@pytest.fixture
def gpu(monkeypatch):
    """A GPU that is none, on which channels_first is faster."""
    calls = []

    def fastest_layout(problem, batch_size, seconds, jit):
        calls.append((problem, batch_size, seconds, jit))
        return "channels_first", 0.5, 0.75

    for place in (module, module.form_file):
        monkeypatch.setattr(place, "gpu_name", lambda: "Some GPU")
    monkeypatch.setattr(module.layout_timing, "fastest_layout", fastest_layout)
    yield calls
    forms.forget()


def make_pyramids(layout, shape=(16, 16, 8)):
    """Two modules of one shape and one of another."""
    x = inputs = keras.Input(shape)
    for filters in (8, 8, 16):
        x = keras_epsanet.layers.PSA(
            filters, (3, 5), groups=(1, 4), reduction=2, layout=layout
        )(x)
    return keras.Model(inputs, x)


def layouts_asked(model, images):
    with forms.asked_for() as asked:
        outputs = model(images)
    found = {p: x for p, x in asked.items() if isinstance(p, module.Pyramid)}
    return keras.ops.convert_to_numpy(outputs), found


def test_on_a_gpu_each_distinct_pyramid_is_timed_once_and_kept(
    tmp_path, gpu, timed
):
    path = tmp_path / "forms.json"
    model = make_pyramids("auto", (None, None, 8))
    images = np.random.default_rng(0).normal(size=(2, 16, 16, 8))
    expected, asked = layouts_asked(model, images)
    assert set(asked.values()) == {None}
    tuning = keras_epsanet.autotune(
        model, (16, 16, 8), batch_size=2, seconds=0.5, file=path, verbose=0
    )
    assert [call[0] for call in gpu] == list(asked) and len(gpu) == 2
    assert {call[1:] for call in gpu} == {(2, 0.5, bool(model.jit_compile))}
    assert not timed and not tuning.forms
    rows = list(tuning.layouts.values())
    assert rows == [("channels_first", 0.5, 0.75)] * 2
    assert (
        str(tuning)
        .splitlines()[1]
        .endswith(
            ": channels_first; 0.50 of the time forward, 0.75 in training"
        )
    )
    # The model computes in the other layout, and the same.
    found, asked = layouts_asked(model, images)
    assert set(asked.values()) == {"channels_first"}
    np.testing.assert_allclose(found, expected, atol=1e-5)
    gpu.clear()
    assert (
        keras_epsanet.autotune(model, (16, 16, 8), batch_size=2, file=path)
        == tuning
    )
    assert not gpu


def test_on_a_gpu_only_what_can_take_a_layout_is_timed(tmp_path, gpu):
    for layout in (None, "channels_first"):
        tuning = keras_epsanet.autotune(
            make_pyramids(layout), file=tmp_path / "f.json"
        )
        assert not tuning.layouts and not tuning.forms and not gpu


def test_on_a_cpu_no_layout_is_timed(tmp_path, timed, monkeypatch):
    monkeypatch.setattr(module.layout_timing, "fastest_layout", None)
    tuning = keras_epsanet.autotune(
        make_pyramids("auto"), file=tmp_path / "f.json", verbose=0
    )
    assert not tuning.layouts
    assert not any(isinstance(x[0], module.Pyramid) for x in timed)


def test_models_that_have_nothing_to_choose_are_left_alone(tmp_path):
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(4, 3)(inputs))
    tuning = keras_epsanet.autotune(model, file=tmp_path / "f.json")
    assert tuning.forms == {}


@pytest.mark.parametrize(
    "arguments, match",
    [
        ({"batch_size": 0}, "`batch_size` must be .*Received: batch_size=0"),
        ({"seconds": -1}, "`seconds` must be positive. Received: seconds=-1"),
        ({"input_shape": (8, 8)}, r"Received: input_shape=\(8, 8\)"),
        (
            {"input_shape": (8, 8, 5)},
            r"the model takes. Received: .*8, 8, 5\) \([^C]*5",
        ),
        ({"input_shape": (8.0, 8, 8)}, "Received: input_shape="),
        ({"model": "m.keras"}, "load_model.*Received: model=m.keras"),
    ],
)
def test_bad_arguments_are_refused(tmp_path, arguments, match):
    path = tmp_path / "f.json"
    with pytest.raises(ValueError, match=match):
        keras_epsanet.autotune(
            **{"model": make_model(), **arguments}, file=path
        )
    assert not path.exists()


def test_another_file_is_refused_before_anything_is_timed(tmp_path, timed):
    path = tmp_path / "notes.txt"
    path.write_text("keep me")
    with pytest.raises(ValueError, match="Received: file=.*notes.txt"):
        keras_epsanet.autotune(make_model(), file=path)
    assert path.read_text() == "keep me" and not timed
