import pathlib
import runpy

import keras
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("the example uses TensorFlow", allow_module_level=True)

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples/warm_start.py"


@pytest.mark.large
def test_a_fitted_start_is_better_than_an_embedded_one():
    main = runpy.run_path(str(EXAMPLE))["main"]
    source, embedded, recalibrated, fitted, trained = main(
        stages=((1, 1), (64, 128)), size=32, epochs=1, labeled=1000
    )
    assert source > 0.6
    assert embedded < recalibrated < fitted
    assert fitted > source - 0.03 and trained > source - 0.03
