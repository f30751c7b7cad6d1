from keras_epsanet.detection import finishing


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
    finishing.finish(model, Run(tmp_path), ["hat", "bäg"], batches)
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
