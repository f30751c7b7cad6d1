import pathlib

import pytest

from keras_epsanet.detection import finishing
from keras_epsanet.training import State


class Run:
    def __init__(self, path):
        self.path = str(path)

    def export(self, model, name):
        return f"digits of {name}"


class Model:
    def save(self, path):
        with open(path, "w") as file:
            file.write("a model")


def test_files_and_a_picture_of_the_first_batch_are_left(
    tmp_path, monkeypatch, capsys
):
    drawn = {}

    def draw(batch, found, names, path):
        drawn.update(batch=batch, found=found, names=names, path=path)

    monkeypatch.setattr(finishing.drawing, "draw_beside", draw)
    monkeypatch.setattr(
        finishing.distribution, "predict", lambda model, x: ("found in", x)
    )
    model, batches = Model(), [{"images": "first"}, {"images": "second"}]
    state = State(step=6, steps_per_epoch=3)
    finishing.finish(model, Run(tmp_path), ["hat", "bäg"], batches, state)
    assert (tmp_path / "model.keras").read_text() == "a model"
    assert drawn == {
        "batch": batches[0],
        "found": ("found in", ["first"]),
        "names": ["hat", "bäg"],
        "path": f"{tmp_path}/predictions.png",
    }
    assert capsys.readouterr().out.splitlines() == [
        "SHA-256 digits of last.weights.h5  last.weights.h5",
        f"Saved in {tmp_path}: model.keras, last.weights.h5, "
        "predictions.png, log.csv",
    ]


@pytest.mark.parametrize(
    "best, events",
    [
        (3, ["export", ("restore", 3), "swap", "save"]),
        (6, ["export", "save"]),
    ],
)
def test_the_best_epoch_is_left(tmp_path, monkeypatch, capsys, best, events):
    seen = []

    class Seen(Run):
        def export(self, model, name):
            seen.append("export")

        def restore(self, model, steps_per_epoch, step, average):
            seen.append(("restore", step))
            assert steps_per_epoch == 3 and average is not None

        def save(self, path):
            seen.append("save")
            pathlib.Path(path).touch()

        def swap_in(self):
            seen.append("swap")

    monkeypatch.setattr(finishing.drawing, "draw_beside", lambda *a, **k: None)
    monkeypatch.setattr(finishing.distribution, "predict", lambda *a: None)
    part = Seen(tmp_path)
    state = State(step=6, steps_per_epoch=3, best_step=best, best_value=0.25)
    finishing.finish(part, part, [], [{"images": 1}], state, part)
    assert seen == events
    line = capsys.readouterr().out.splitlines()[0]
    assert line == (
        f"model.keras is that of epoch {best // 3} of 2, with the highest AP: "
        "25.0%"
    )
