import pytest

from keras_epsanet.training import ClassifierRecipe, ImageNetRecipe


@pytest.mark.parametrize("cls", [ClassifierRecipe, ImageNetRecipe])
def test_frozen_statistics_are_not_taken_anew(cls):
    with pytest.raises(ValueError, match="freeze=True, recalibration_steps=2"):
        cls(freeze=True, recalibration_steps=2)
    assert cls(recalibration_steps=2).recalibration_steps == 2


@pytest.mark.parametrize(
    "field, value",
    [("teacher_share", 1.0), ("temperature", 0), ("teacher", "")],
)
def test_values_out_of_range_are_refused(field, value):
    with pytest.raises(ValueError, match=f"Received: {field}={value}"):
        ClassifierRecipe(**{field: value})
