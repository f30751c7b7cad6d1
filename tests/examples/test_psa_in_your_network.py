import pathlib
import re
import runpy

import keras
import pytest

from keras_epsanet.layers import PSA

if keras.backend.backend() != "tensorflow":
    pytest.skip("images come from tf.data", allow_module_level=True)

SCRIPT = pathlib.Path(__file__).parents[2] / "examples/psa_in_your_network.py"


def test_the_switch_puts_psa_for_the_convolutions_of_the_blocks():
    build_resnet = runpy.run_path(SCRIPT)["build_resnet"]
    psa, stock = build_resnet(use_psa=True), build_resnet(use_psa=False)
    assert len(psa.layers) == len(stock.layers)
    changed = [
        (type(new), old.kernel_size, old.strides)
        for new, old in zip(psa.layers, stock.layers)
        if type(new) is not type(old)
    ]
    strides = (1, 1, 2, 1, 2, 1)
    assert changed == [(PSA, (3, 3), (stride, stride)) for stride in strides]


@pytest.mark.large
def test_both_networks_learn(capsys):
    runpy.run_path(SCRIPT)["main"](batch_size=16, steps=5, epochs=2)
    output = capsys.readouterr().out
    losses = [float(loss) for loss in re.findall(r"loss: ([\d.]+)", output)]
    assert len(losses) == 4
    assert losses[1] < losses[0]
    assert losses[3] < losses[2]
    assert re.search(r"resnet +1,226,442 parameters", output)
    assert re.search(r"resnet_psa +914,680 parameters", output)
