"""Files that another process reads, which has imported the package alone."""

import json

import keras
import numpy as np

from keras_epsanet import EPSANet50Small, training

DTYPES = ["float32", "mixed_bfloat16"]
NETWORK = {
    "input_shape": (64, 64, 3),
    "classes": 10,
    "stackwise_num_blocks": (1, 1, 1, 1),
}


def save_network(dtype, folder, x, randomize):
    """Returns what the network predicts."""
    model = randomize(EPSANet50Small(**NETWORK, dtype=dtype))
    assert model.weights[0].dtype == "float32"
    model.save(folder / f"{dtype}.keras")
    model.save_weights(folder / f"{dtype}.weights.h5")
    return np.asarray(model.predict(x, verbose=0), "float32")


def save_compiled(folder):
    schedule = training.EpochSchedule(0.1, 10, epochs=2)
    optimizer = training.LossScale(training.SGDL2(schedule))
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile(optimizer, "mse")
    model.fit(np.ones((2, 2)), np.ones((2, 1)), verbose=0)
    model.save(folder / "compiled.keras")


def test_another_process_reads_every_file(run_python, randomize, tmp_path):
    x = np.random.default_rng(0).standard_normal((2, 64, 64, 3))
    x = x.astype("float32")
    np.save(tmp_path / "x.npy", x)
    expected = {
        dtype: save_network(dtype, tmp_path, x, randomize) for dtype in DTYPES
    }
    save_compiled(tmp_path)
    output = run_python(
        f"""
import json, keras, keras_epsanet, numpy as np
x, policies = np.load("x.npy"), []
for dtype in {DTYPES}:
    models = {{
        "keras": keras.saving.load_model(dtype + ".keras"),
        "h5": keras_epsanet.EPSANet50Small(
            **{NETWORK}, dtype=dtype, weights=dtype + ".weights.h5"
        ),
    }}
    for name, model in models.items():
        y = np.asarray(model.predict(x, verbose=0), "float32")
        np.save(dtype + "_" + name, y)
        policies.append(model.get_layer("conv2_block1_psa").dtype_policy.name)

outer = keras.saving.load_model("compiled.keras").optimizer
inner = outer.inner_optimizer
classes = [type(x).__name__ for x in (outer, inner, inner._learning_rate)]
print(json.dumps([policies, classes, int(inner.iterations)]))
"""
    )
    policies, classes, iterations = json.loads(output.splitlines()[-1])
    assert policies == [dtype for dtype in DTYPES for _ in range(2)]
    for dtype, y in expected.items():
        for name in ("keras", "h5"):
            found = np.load(tmp_path / f"{dtype}_{name}.npy")
            np.testing.assert_array_equal(found, y)
    assert classes == ["LossScale", "SGDL2", "EpochSchedule"]
    assert iterations == 1
