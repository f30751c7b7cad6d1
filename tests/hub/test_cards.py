"""The cards of published models, read as the hub reads them."""

import hashlib
import json
import pathlib
import re

import pytest

from keras_epsanet.hub import cards


@pytest.fixture
def folder(tmp_path):
    """A preset of KerasHub, as far as a card looks at it."""
    folder = tmp_path / "published"
    (folder / "assets").mkdir(parents=True)
    (folder / "config.json").write_text('{"registered_name": "some>Backbone"}')
    (folder / "model.weights.h5").write_bytes(b"weights")
    (folder / "assets" / "words.txt").write_text("words")
    return folder


def card(run, folder, license="mit", **kwargs):
    path = cards.model_card(run, folder, license, **kwargs)
    assert path == str(folder / "README.md")
    return (folder / "README.md").read_text(encoding="utf-8")


def test_the_header_is_what_the_hub_reads(run_folder, folder):
    hub = pytest.importorskip("huggingface_hub")
    results = json.loads((run_folder / "results.json").read_text())
    results["top5"] = 0.987512
    (run_folder / "results.json").write_text(json.dumps(results))
    text = card(run_folder, folder, "cc-by-nc-4.0", name='My "pets": 4')
    data = hub.ModelCard(text).data
    assert data.license == "cc-by-nc-4.0" and data.library_name == "keras"
    assert data.pipeline_tag == "image-classification"
    assert data.tags == ["image-classification", "keras-hub", "tiny"]
    assert data.metrics == ["accuracy"] and data.model_name == 'My "pets": 4'
    found = [
        (x.metric_type, x.metric_name, x.metric_value, x.dataset_name)
        for x in data.eval_results
    ]
    assert found == [
        ("accuracy", "top-1 accuracy", 0.75, "pets"),
        ("accuracy", "top-5 accuracy", 0.987512, "pets"),
    ]


def test_numbers_are_those_of_the_training(run_folder, folder):
    text = card(run_folder, folder)
    assert "4 classes, 75.00% top-1 accuracy" in text
    assert "On 1,200 images of pets" in text
    assert "| top-1 accuracy | 75.00% |" in text and "top-5" not in text
    assert "after epoch 5, the best of 7" in text
    assert "| dog | 225 of 300 | cat |" in text
    assert "| a \\| b | 225 of 300 | cat |" in text
    assert "| Ä | 300 of 300 | – |" in text
    assert "| l2 | 0.5 |" in text and "teacher" not in text


def test_what_is_on_the_machine_of_the_training_stays_there(run_folder, folder):
    results = json.loads((run_folder / "results.json").read_text())
    results["recipe"]["teacher"] = "/home/somebody/secret/teacher.keras"
    (run_folder / "results.json").write_text(json.dumps(results))
    (run_folder / "initialized_from.txt").write_text(
        "/home/somebody/secret/resnet.keras\nInitialized from ResNet-8: all\n"
    )
    text = card(run_folder, folder)
    assert "secret" not in text
    assert "| teacher | another classifier |" in text
    start = "| started from | resnet.keras Initialized from ResNet-8: all |"
    assert start in text
    assert "trained on Cats" in card(run_folder, folder, dataset="Cats")


def test_every_file_has_its_sum(run_folder, folder):
    (folder / "model.weights.h5").write_bytes(b"weights" * 200)
    (folder / ".cache").write_text("hidden")
    card(run_folder, folder)
    text = card(run_folder, folder)  # Not of the former card.
    sums = dict(
        reversed(line.split("  "))
        for line in (folder / "SHA256SUMS").read_text().splitlines()
    )
    assert [*sums] == ["assets/words.txt", "config.json", "model.weights.h5"]
    for name, digits in sums.items():
        content = (folder / name).read_bytes()
        assert digits == hashlib.sha256(content).hexdigest()
        assert f"| `{name}` | {len(content):,} | `{digits}` |" in text


@pytest.mark.parametrize(
    "files, tag, code",
    [
        (
            {"config.json": '{"registered_name": ""}'},
            "keras-hub",
            "from_preset",
        ),
        ({"config.json": '{"architecture": ""}'}, "safetensors", "load_timm"),
        ({"model.keras": ""}, "keras", 'load_model("model.keras")'),
    ],
)
def test_the_use_is_that_of_the_files(files, tag, code, run_folder, tmp_path):
    folder = tmp_path / "published"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_text(content)
    text = card(run_folder, folder, repository="me/pets")
    assert f'- "{tag}"\n- "tiny"' in text and "\n# pets\n" in text
    (python,) = re.findall(r"```python\n(.*?)```", text, re.S)
    compile(python, "card", "exec")
    assert code in python
    assert ('"hf://me/pets"' in python) == (tag != "keras")


@pytest.mark.parametrize("number", [20, 21])
def test_many_classes_are_left_out(number, run_folder, folder):
    images = json.loads((run_folder / "images.json").read_text())
    images["class_names"] = [str(i) for i in range(number)]
    (run_folder / "images.json").write_text(json.dumps(images))
    text = card(run_folder, folder)
    assert f"{number} classes" in text
    assert ("taken for" in text) == (number == 20)


def test_without_the_table_of_the_classes_there_is_none(run_folder, folder):
    (run_folder / "classes.csv").unlink()
    text = card(run_folder, folder)
    assert "| top-1 accuracy | 75.00% |" in text and "taken for" not in text


@pytest.mark.parametrize(
    "source", ["/data/secret/pets/", r"C:\secret\pets", "pets"]
)
def test_a_data_set_is_called_like_its_folder(source, run_folder, folder):
    images = json.loads((run_folder / "images.json").read_text())
    images["source"] = source
    (run_folder / "images.json").write_text(json.dumps(images))
    text = card(run_folder, folder)
    assert "trained on pets with" in text and "secret" not in text
    assert text.count('name: "pets"') == 1


def test_the_title_is_that_of_the_network_where_nothing_else_is_said(
    run_folder, folder
):
    results = json.loads((run_folder / "results.json").read_text())
    results["recipe"]["model"] = "keras-hub"
    (run_folder / "results.json").write_text(json.dumps(results))
    text = card(run_folder, folder)
    assert "\n# keras-hub\n" in text and "`keras-hub` at 32×32" in text
    assert text.count('- "keras-hub"\n') == 1  # No tag twice.
    assert "hf://USER/NAME" in text
    assert "license of the weights is `mit`" in text


def test_a_training_and_a_folder_may_be_in_a_storage(
    run_folder, folder, tmp_path
):
    tf = pytest.importorskip("tensorflow")
    remote = f"ram://test_cards/{tmp_path.name}"
    for source in (run_folder, folder):
        for file in filter(pathlib.Path.is_file, source.rglob("*")):
            target = f"{remote}/{file.relative_to(tmp_path).as_posix()}"
            tf.io.gfile.makedirs(target.rpartition("/")[0])
            tf.io.gfile.copy(str(file), target)
    cards.model_card(f"{remote}/runs/mine", f"{remote}/published", "mit")
    card(run_folder, folder)
    for name in ("README.md", "SHA256SUMS"):
        with tf.io.gfile.GFile(f"{remote}/published/{name}") as file:
            assert file.read() == (folder / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("license", ["", "My license", "MIT\n- a: b", "mit x"])
def test_a_license_is_an_identifier(license, run_folder, folder):
    with pytest.raises(ValueError, match="`license` must be an identifier"):
        cards.model_card(run_folder, folder, license)
    assert not (folder / "README.md").exists()


def test_other_folders_are_refused(run_folder, folder, tmp_path):
    with pytest.raises(ValueError, match=r"finished.*results.json.*published"):
        cards.model_card(folder, folder, "mit")
    with pytest.raises(ValueError, match="`folder` must hold a preset"):
        cards.model_card(run_folder, tmp_path, "mit")
    with pytest.raises(ValueError, match=r"finished.*results.json.*config"):
        cards.model_card(folder / "config.json", folder, "mit")
    (run_folder / "results.json").write_text("[]")
    with pytest.raises(ValueError, match="no top1"):
        cards.model_card(run_folder, folder, "mit")
