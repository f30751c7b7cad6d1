import pathlib
import re
import runpy

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("images come from tf.data", allow_module_level=True)

SCRIPT = pathlib.Path(__file__).parents[2] / "examples/fine_tune.py"


def test_images_are_those_of_the_classes():
    images, labels = runpy.run_path(SCRIPT)["load"]("test", (5, 9), 3)
    assert images.shape == (6, 32, 32, 3)
    assert labels.tolist() == [0, 0, 0, 1, 1, 1]
    # Black becomes what `preprocess_input` makes of it.
    assert np.allclose(images[:, 0, 0], [-2.118, -2.036, -1.804], atol=1e-3)


@pytest.mark.large
def test_new_classes_are_learned_from_the_weights(tmp_path, capsys):
    path = f"{tmp_path}/seven.weights.h5"
    main = runpy.run_path(SCRIPT)["main"]
    with pytest.warns(UserWarning, match="has 7 classes, the model's 3"):
        main(of_each=40, epochs=1, epochs_of_new=2, path=path)
    text = capsys.readouterr().out
    assert re.search(r"fine-tuned +[\d.]+% of 600 right", text)
    assert re.search(r"from scratch +[\d.]+% of 600 right", text)
