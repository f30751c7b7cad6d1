from keras_epsanet.training import IMAGENET, ImageNetRecipe


def test_the_paper_s_recipe_smooths_labels_and_is_the_default():
    assert IMAGENET.label_smoothing == 0.1 and IMAGENET.antialias
    nothing = IMAGENET.augmentations, IMAGENET.teacher
    assert nothing == (None, None) and not IMAGENET.recalibration_steps
    assert IMAGENET == ImageNetRecipe()
