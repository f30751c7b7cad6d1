import pathlib
import re
import runpy

import keras
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("the example uses TensorFlow", allow_module_level=True)

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples/warm_start.py"


@pytest.mark.large
def test_a_network_starts_close_to_its_source(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main = runpy.run_path(str(EXAMPLE))["main"]
    main(stages=((1, 1), (64, 128)), size=32, counts=(500,))
    found = {
        what.strip(): float(value)
        for what, value in re.findall(
            r"(.+?labels) +([\d.]+)%", capsys.readouterr().out
        )
    }
    source = found["ResNet, all labels"]
    assert source > 60
    assert found["from the ResNet, no labels"] > source - 5
    for name in ("from the ResNet", "and taught by it"):
        assert found[f"{name}, 500 labels"] > source - 5
        assert found[f"{name}, 500 labels"] > found["from scratch, 500 labels"]
    assert (tmp_path / "runs/warm_start.png").stat().st_size > 5000
