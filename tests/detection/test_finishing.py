import pathlib

import pytest

from keras_epsanet.detection import finishing
from keras_epsanet.training import State


class Run:
    is_chief = True

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


def test_a_detector_takes_the_place_of_a_former_one_when_it_is_whole(
    tmp_path, monkeypatch
):
    class Failing:
        def save(self, path):
            Model().save(path)
            raise OSError("no space")

    (tmp_path / "model.keras").write_text("former")
    with pytest.raises(OSError, match="no space"):
        finishing.finish(Failing(), Run(tmp_path), [], [], State(step=6))
    assert (tmp_path / "model.keras").read_text() == "former"


@pytest.mark.parametrize(
    "best, has_average, events",
    [
        (3, True, ["export", ("restore", 3), "swap", "save"]),
        (3, False, ["export", ("restore", 3), "save"]),
        (6, True, ["export", "save"]),
    ],
)
def test_the_best_epoch_is_left(
    tmp_path, monkeypatch, capsys, best, has_average, events
):
    seen = []

    class Seen(Run):
        def export(self, model, name):
            seen.append("export")

        def restore(self, model, steps_per_epoch, step, average):
            seen.append(("restore", step))
            assert steps_per_epoch == 3
            assert (average is not None) is has_average

        def save(self, path):
            seen.append("save")
            pathlib.Path(path).touch()

        def swap_in(self):
            seen.append("swap")

    monkeypatch.setattr(finishing.drawing, "draw_beside", lambda *a, **k: None)
    monkeypatch.setattr(finishing.distribution, "predict", lambda *a: None)
    part = Seen(tmp_path)
    state = State(step=6, steps_per_epoch=3, best_step=best, best_value=0.25)
    average = part if has_average else None
    finishing.finish(part, part, [], [{"images": 1}], state, average)
    assert seen == events
    line = capsys.readouterr().out.splitlines()[0]
    assert line == (
        f"model.keras is that of epoch {best // 3} of 2, with the highest AP: "
        "25.0%"
    )
