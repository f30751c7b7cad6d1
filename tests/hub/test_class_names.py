"""Names of classes beside a preset."""

import pytest

from keras_epsanet.hub import class_names


def test_names_come_back_from_a_folder(make_classifier, tmp_path):
    names = class_names.class_names_of(make_classifier())
    assert names == ["cat", "dog", "a | b", "Ä"]
    class_names.write_class_names(tmp_path, names)
    assert class_names.read_class_names(tmp_path) == names
    assert "Ä" in (tmp_path / "class_names.json").read_text(encoding="utf-8")


def test_a_model_may_have_none():
    import keras

    image = keras.Input((2,))
    assert class_names.class_names_of(keras.Model(image, image)) is None


@pytest.mark.parametrize("content", ["[]", '"cat"', "[1, 2]"])
def test_what_is_none_is_refused(content, tmp_path):
    (tmp_path / "class_names.json").write_text(content)
    with pytest.raises(ValueError, match="must be a list of strings"):
        class_names.read_class_names(tmp_path)
