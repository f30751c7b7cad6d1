import keras
import numpy as np
import pytest

from keras_epsanet import EPSANet50Small, training

LOAD = {
    "model.keras": 'model = keras.saving.load_model("model.keras")',
    "model.weights.h5": """model = keras_epsanet.EPSANet50Small(
    input_shape=(64, 64, 3), classes=10, dtype={dtype!r},
    stackwise_num_blocks=(1, 1, 1, 1), weights="model.weights.h5")""",
}


@pytest.mark.parametrize("file", LOAD)
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_round_trip_in_a_fresh_process(
    run_python, randomize, tmp_path, file, dtype
):
    model = EPSANet50Small(
        input_shape=(64, 64, 3),
        classes=10,
        dtype=dtype,
        stackwise_num_blocks=(1, 1, 1, 1),
    )
    randomize(model)
    x = np.random.default_rng(0).standard_normal((2, 64, 64, 3))
    np.save(tmp_path / "x.npy", x.astype("float32"))
    if file.endswith(".keras"):
        model.save(tmp_path / file)
    else:
        model.save_weights(tmp_path / file)
    output = run_python(
        f"""
import keras, keras_epsanet, numpy as np
{LOAD[file].format(dtype=dtype)}
y = model.predict(np.load("x.npy"), verbose=0)
np.save("y.npy", np.asarray(y, "float32"))
print(model.get_layer("conv2_block1_psa").dtype_policy.name)
"""
    )
    assert output.split()[-1] == dtype
    expected = np.asarray(model.predict(x, verbose=0), "float32")
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), expected)
    assert keras.backend.standardize_dtype(model.weights[0].dtype) == "float32"


def test_compiled_model_needs_the_package_alone(run_python, tmp_path):
    schedule = training.EpochSchedule(0.1, 10, epochs=2)
    optimizer = training.LossScale(training.SGDL2(schedule))
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile(optimizer, "mse")
    model.fit(np.ones((2, 2)), np.ones((2, 1)), verbose=0)
    model.save(tmp_path / "model.keras")
    output = run_python(
        """
import keras, keras_epsanet
outer = keras.saving.load_model("model.keras").optimizer
inner = outer.inner_optimizer
print(*[type(x).__name__ for x in (outer, inner, inner._learning_rate)],
      int(inner.iterations))
"""
    )
    expected = ["LossScale", "SGDL2", "EpochSchedule", "1"]
    assert output.split()[-4:] == expected
