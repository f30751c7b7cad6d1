import pytest

from keras_epsanet.training import (
    ClassifierRecipe,
)


@pytest.mark.parametrize(
    "option",
    [
        {"patience": 0},
        {"patience": 1.5},
        {"val_share": 1},
        {"val_share": -0.1},
        {"flip": 1},
        {"freeze": None},
    ],
    ids=str,
)
def test_a_classifier_s_value_out_of_range_is_refused(option):
    ((name, value),) = option.items()
    with pytest.raises(ValueError, match=f"`{name}`.* Received: {name}="):
        ClassifierRecipe(**option)
    assert ClassifierRecipe(patience=1, val_share=0).patience == 1
