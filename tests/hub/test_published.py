"""Folders to be published, loaded in a fresh process."""

import os
import pathlib
import re
import runpy
import shlex
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_epsanet_command
from keras_epsanet import EPSANet
from keras_epsanet.hub import published, timm_folders

ROOT = pathlib.Path(__file__).parents[2]
READ = {
    "preset": """
import keras_hub
model = keras_hub.models.ImageClassifier.from_preset("published")
assert model.backbone.__class__ is keras_epsanet.EPSANetBackbone
assert keras_epsanet.hub.read_class_names("published")[:2] == ["cat", "dog"]
""",
    "timm": """
network = keras_epsanet.hub.load_timm("published", include_preprocessing=True)
config = keras_epsanet.hub.read_timm_config("published")
assert config["label_names"][:2] == ["cat", "dog"]
image = keras.Input((None, None, 3))
size = config["pretrained_cfg"]["input_size"][1:]
model = keras.Model(image, network(keras.layers.Resizing(*size)(image)))
""",
}


@pytest.mark.parametrize("kind", published.WRITERS)
def test_a_fresh_process_predicts_the_same(
    kind, make_classifier, images, run_python, tmp_path
):
    if kind == "preset":
        pytest.importorskip("keras_hub")
    model = make_classifier()
    published.WRITERS[kind](model, str(tmp_path / "published"))
    np.save(tmp_path / "images.npy", images)
    code = "import keras, numpy as np, keras_epsanet\n" + READ[kind]
    code += "outputs = model.predict(np.load('images.npy'), verbose=0)\n"
    run_python(code + "np.save('outputs.npy', outputs)")
    np.testing.assert_allclose(
        np.load(tmp_path / "outputs.npy"),
        model.predict(images, verbose=0),
        atol=1e-5,
    )


@pytest.mark.parametrize("kind", published.WRITERS)
@pytest.mark.parametrize("is_inside", [False, True])
def test_it_is_opened_for_the_images_that_the_model_takes(
    kind, is_inside, make_classifier, images, tmp_path, randomize
):
    if kind == "preset":
        pytest.importorskip("keras_hub")
    model = make_classifier()
    if not is_inside:
        model = randomize(
            EPSANet(
                *((1, 1), (16, 32), (3, 5), (1, 4)),
                reduction=4,
                input_shape=(50, 44, 3),
                classes=3,
            )
        )
        images = images / 100
    published.WRITERS[kind](model, str(tmp_path / "published"))
    names = tmp_path / "published" / "class_names.json"
    assert names.exists() == (kind == "preset" and is_inside)
    run = published.open_published(str(tmp_path / "published"), kind, model)
    np.testing.assert_allclose(
        run(images), model.predict(images, verbose=0), atol=1e-5
    )


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="commands run on TensorFlow",
)
def test_the_three_commands_of_the_docs_go_as_far_as_the_upload(
    make_classifier, run_folder, monkeypatch, tmp_path
):
    pytest.importorskip("keras_hub")
    hub = pytest.importorskip("huggingface_hub")
    page = (ROOT / "docs/publish.md").read_text()
    block = re.search(r"```sh\n(.*?)```", page, re.S)[1].replace("\\\n", "")
    export, card, upload = map(shlex.split, block.splitlines())
    monkeypatch.chdir(tmp_path)
    shutil.move(run_folder, "runs/classifier")
    make_classifier().save("runs/classifier/model.keras")

    assert export[0] == "keras-epsanet"
    keras_epsanet_command.main(export[1:])
    assert card[0] == "python"
    monkeypatch.setattr(sys, "argv", card[1:])
    runpy.run_path(str(ROOT / card[1]), run_name="__main__")
    folder = tmp_path / "runs/classifier/model_preset"
    assert upload == [
        "hf",
        "upload",
        "USER/NAME",
        str(folder.relative_to(tmp_path)),
    ]
    sums = (folder / "SHA256SUMS").read_text()
    assert "task.weights.h5" in sums and "class_names.json" in sums
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert hub.ModelCard(text).data.eval_results[0].metric_value == 0.75
    assert 'from_preset("hf://USER/NAME")' in text
    result = subprocess.run(
        [sys.executable, "-m", "huggingface_hub.cli.hf", *upload[1:]],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert "api/repos/create: offline mode" in result.stderr


@pytest.mark.parametrize("kind", published.WRITERS)
def test_a_folder_of_other_files_is_left_alone(kind, make_classifier, tmp_path):
    if kind == "preset":
        pytest.importorskip("keras_hub")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="`folder` must be new.*notes.txt"):
        published.WRITERS[kind](make_classifier(), str(tmp_path))
    assert [x.name for x in tmp_path.iterdir()] == ["notes.txt"]


FOREIGN = {
    "metadata.json": '{"version": 1}',  # Of whatever other program.
    "config.json": '{"model_type": "bert"}',
    "model.safetensors": "mine",
    "results.json": "[]",
    "my_model.weights.h5": "mine",
    "assets/logo.svg": "mine",
}


@pytest.mark.parametrize("kind", published.WRITERS)
def test_files_of_the_same_names_do_not_make_it_a_former_one(
    kind, make_classifier, tmp_path
):
    if kind == "preset":
        pytest.importorskip("keras_hub")
    for name, text in FOREIGN.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match="`folder` must be new.*assets"):
        published.WRITERS[kind](make_classifier(), str(tmp_path))
    for name, text in FOREIGN.items():
        assert (tmp_path / name).read_text() == text
    assert len(list(tmp_path.iterdir())) == len(FOREIGN)


@pytest.mark.parametrize(
    "kind, files", [("preset", published.FILES), ("timm", timm_folders.FILES)]
)
def test_others_stay_beside_what_is_published_again(
    kind, files, make_classifier, tmp_path
):
    if kind == "preset":
        pytest.importorskip("keras_hub")
    folder, model = tmp_path / "published", make_classifier()
    published.WRITERS[kind](model, folder)
    # All that is written is known by its name, for the next time.
    assert {x.name for x in folder.iterdir()} == {*files} - {"SHA256SUMS"}
    mine = [folder / x for x in FOREIGN if x not in files]
    mine += [folder / "README.md", folder / ".git/config"]
    for file in mine:
        file.parent.mkdir(exist_ok=True)
        file.write_text("mine")
    (folder / "SHA256SUMS").write_text("of the former weights")
    published.WRITERS[kind](model, folder)
    assert {x.read_text() for x in mine} == {"mine"}
    assert not (folder / "SHA256SUMS").exists()


def test_the_class_names_of_before_do_not_stay(make_classifier, tmp_path):
    pytest.importorskip("keras_hub")
    folder = tmp_path / "preset"
    published.save_preset(make_classifier(), folder)
    (folder / "README.md").write_text("my card")
    assert (folder / "class_names.json").exists()
    network = EPSANet((1, 1), (16, 32), (3, 5), (1, 4), reduction=4, classes=2)
    published.save_preset(network, folder)
    assert not (folder / "class_names.json").exists()
    assert (folder / "README.md").read_text() == "my card"
