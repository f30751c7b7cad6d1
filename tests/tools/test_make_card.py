import importlib.util
import json
import pathlib

import pytest

FILE = pathlib.Path(__file__).parents[2] / "tools" / "make_card.py"
SPEC = importlib.util.spec_from_file_location("make_card", FILE)
make_card = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(make_card)


@pytest.fixture
def folders(tmp_path):
    run, folder = tmp_path / "run", tmp_path / "published"
    run.mkdir()
    folder.mkdir()
    recipe = {"model": "tiny", "image_size": 32}
    results = {"epochs": 2, "best_epoch": 1, "top1": 0.5, "recipe": recipe}
    images = {"source": "pets", "class_names": ["cat", "dog"], "held_out": 8}
    (run / "results.json").write_text(json.dumps(results))
    (run / "images.json").write_text(json.dumps(images))
    (folder / "model.keras").touch()
    return str(run), str(folder)


def test_a_card_is_written_with_what_is_said(folders, capsys):
    make_card.main(
        [*folders, "--license", "mit", "--name", "Pets", "--dataset", "Animals"]
    )
    path = f"{folders[1]}/README.md"
    assert capsys.readouterr().out == f"Saved {path}\n"
    text = pathlib.Path(path).read_text()
    assert "license: mit" in text and "# Pets" in text
    assert "8 images of Animals" in text


def test_the_repository_is_the_name_of_a_card(folders):
    make_card.main([*folders, "--license", "mit", "--repository", "me/pets"])
    assert "# pets" in pathlib.Path(f"{folders[1]}/README.md").read_text()


def test_what_is_missing_is_one_line(folders, tmp_path, capsys):
    with pytest.raises(SystemExit, match="make_card.py: `run` must be"):
        make_card.main([str(tmp_path), folders[1], "--license", "mit"])
    with pytest.raises(SystemExit):
        make_card.main([*folders])
    assert "required: --license" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["pets", "me/", "/pets", "me/pets/2", "hf://me/pets", "a b/c"]
)
def test_a_repository_is_a_user_and_a_name(name, folders, capsys):
    with pytest.raises(SystemExit):
        make_card.main([*folders, "--license", "mit", "--repository", name])
    line = f"--repository: {name} is not USER/NAME\n"
    assert capsys.readouterr().err.endswith(line)
    assert not pathlib.Path(f"{folders[1]}/README.md").exists()


def test_a_license_that_the_hub_does_not_list_is_named(folders, capsys):
    for name, hint in (
        ("apache-2", ": is apache-2.0 meant?"),
        ("xyzzy", ""),
    ):
        make_card.main([*folders, "--license", name])
        assert capsys.readouterr().err == (
            f"make_card.py: {name} is none of the hub's usual licenses, of "
            f"which `other` is one{hint}\n"
        )
    make_card.main([*folders, "--license", "cc-by-nc-4.0"])
    assert not capsys.readouterr().err


def test_a_card_that_is_replaced_is_named(folders, capsys):
    arguments = [*folders, "--license", "mit"]
    path = f"{folders[1]}/README.md"
    make_card.main(arguments)
    assert capsys.readouterr().out == f"Saved {path}\n"
    make_card.main(arguments)
    line = f"Saved {path}, in place of a former one\n"
    assert capsys.readouterr().out == line
