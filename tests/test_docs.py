import pathlib
import re

import keras
import numpy as np
import pytest

from keras_epsanet.models.variants import MODEL_CONFIGS

DOCS = pathlib.Path(__file__).parent.parent / "docs"
TINY = {
    "stackwise_num_blocks": (1, 1, 1, 1),
    "stackwise_num_filters": (16, 16, 32, 32),
    "kernel_sizes": (3, 5),
    "groups": (1, 4),
    "reduction": 4,
}


@pytest.mark.large
@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="trained on TensorFlow"
)
def test_code_of_the_detection_page_runs(tmp_path, monkeypatch):
    pytest.importorskip("keras_cv")
    pytest.importorskip("keras_hub")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(MODEL_CONFIGS, "epsanet50_small", TINY)
    code = "\n".join(
        re.findall(
            r"```python\n(.*?)```", (DOCS / "detection.md").read_text(), re.S
        )
    )
    for long, short in (("256", "64"), ("=2000", "=2"), ("=200,", "=1,")):
        assert long in code
        code = code.replace(long, short)
    random = np.random.default_rng(0)
    names = {
        "images": random.standard_normal((2, 64, 64, 3)).astype("float32"),
        "boxes": np.array([[[8, 8, 40, 40], [-1] * 4]] * 2, "float32"),
        "labels": np.array([[3, -1]] * 2),
        "segments": random.integers(0, 10, (2, 64, 64, 1)),
    }
    exec(compile(code, "detection.md", "exec"), names)
    assert names["found"]["boxes"].shape == (2, 100, 4)
    for model in (names["detector"], names["segmenter"]):
        assert np.isfinite(model.history.history["loss"]).all()
    assert (tmp_path / "scenes/annotations/instances_val.json").is_file()
