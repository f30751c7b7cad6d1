import types

import pytest

from keras_epsanet.classification import finishing
from keras_epsanet.training import ClassifierRecipe, State


def test_a_saved_model_that_is_worse_is_an_error():
    recipe = ClassifierRecipe()
    found = types.SimpleNamespace(labels=[0] * 2000, accuracy=lambda: 0.5)
    finishing.check_accuracy("a", found, State(best_value=0.501), recipe)
    with pytest.raises(RuntimeError, match="50.00%, but .* 50.20%"):
        finishing.check_accuracy("a", found, State(best_value=0.502), recipe)
    # One image of a few is rounding.
    found.labels = [0] * 4
    finishing.check_accuracy("a", found, State(best_value=0.75), recipe)
