import itertools

import numpy as np
import pytest

from keras_epsanet.classification.comparison import picture
from keras_epsanet.classification.comparison.networks import NAMES
from keras_epsanet.classification.comparison.table import Row

pytest.importorskip("matplotlib")


def make_rows(number=None):
    """Networks as they are: most have nearly the same size."""
    random = np.random.default_rng(0)
    return [
        Row(
            name,
            {
                "parameters": int(1.5e6 + 1e5 * random.integers(3)),
                "flops": int(3.5e7 + 1e5 * random.integers(3)),
            },
            {seed: 0.85 + 0.01 * random.random() for seed in range(3)},
        )
        for name in NAMES[:number]
    ]


def test_no_label_lies_on_another(tmp_path, monkeypatch):
    boxes, label = [], picture.label

    def keep(axis, points, names):
        labels = label(axis, points, names)
        renderer = axis.figure.canvas.get_renderer()
        boxes.append([picture._text_extent(x, renderer) for x in labels])
        return labels

    monkeypatch.setattr(picture, "label", keep)
    picture.plot(make_rows(), tmp_path / "figure.png", "resnet50")
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    assert [len(x) for x in boxes] == [len(NAMES)] * 2
    for texts in boxes:
        pairs = itertools.combinations(texts, 2)
        assert not any(one.overlaps(other) for one, other in pairs)


def test_one_network_with_one_seed_is_drawn(tmp_path):
    rows = [make_rows(1)[0]._replace(accuracies={0: 0.5})]
    picture.plot(rows, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").is_file()
