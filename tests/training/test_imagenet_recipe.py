import dataclasses

from keras_epsanet.training import IMAGENET, ImageNetRecipe, Recipe


def test_the_paper_s_recipe_smooths_labels_and_is_the_default():
    fields = {f.name for f in dataclasses.fields(ImageNetRecipe)}
    fields -= {f.name for f in dataclasses.fields(Recipe)}
    own = {name: getattr(IMAGENET, name) for name in fields}
    expected = {"label_smoothing": 0.1, "augmentations": None}
    assert own == expected | {"antialias": True}
    assert IMAGENET == ImageNetRecipe()
