import pathlib
import runpy

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("images are decoded by TensorFlow", allow_module_level=True)

SCRIPT = pathlib.Path(__file__).parents[2] / "examples/classify_own_photos.py"
COLORS = {"blue": (30, 30, 200), "green": (30, 200, 30), "red": (200, 30, 30)}


@pytest.fixture
def photos(tmp_path):
    """Folder of photos of different sizes, a sub-folder for each color."""
    random = np.random.default_rng(0)
    for name, color in COLORS.items():
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(20):
            size = *random.integers(20, 50, 2), 3
            photo = color + random.integers(-30, 30, size)
            path = tmp_path / "photos" / name / f"{i}.png"
            keras.utils.save_img(path, photo, scale=False)
    return f"{tmp_path}/photos"


def test_without_a_folder_pictures_of_clothes_are_loaded():
    train, held_out = runpy.run_path(SCRIPT)["load"](None)
    assert (train.num_images, held_out.num_images) == (10_000, 2_000)


@pytest.mark.large
def test_photos_of_any_size_are_learned(photos, tmp_path, capsys):
    path = f"{tmp_path}/photos.keras"
    runpy.run_path(SCRIPT)["main"](photos, size=32, epochs=8, path=path)
    text = capsys.readouterr().out
    rows = [x.split() for x in text.splitlines() if "is taken for" in x]
    assert len(rows) == 8
    assert all(row[0] == row[4] for row in rows)
    model = keras.saving.load_model(path)
    assert model.layers[-1].names == tuple(COLORS)
    image = np.full((1, 50, 70, 3), COLORS["red"])
    ((name, _),) = model.layers[-1].decode(model(image), top=1)[0]
    assert name == "red"
