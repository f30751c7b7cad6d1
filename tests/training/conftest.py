"""What the tests of trainings share."""

import pathlib
import subprocess
import sys

import keras
import pytest
from keras import ops

from keras_epsanet.training import lock

# For the module that tests of this folder share.
sys.path.insert(0, str(pathlib.Path(__file__).parent))


@pytest.fixture
def float64():
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx(before)


@pytest.fixture
def apply():
    """Function that makes a step of an optimizer on every backend."""
    return _apply


def _apply(optimizer, gradients, variables):
    gradients = [ops.convert_to_tensor(array) for array in gradients]
    if keras.backend.backend() != "jax":
        optimizer.apply(gradients, variables)
        return
    # As `fit` does; Keras' loss scaling cannot do otherwise there.
    if not optimizer.built:
        optimizer.build(variables)
    new, state = optimizer.stateless_apply(
        [v.value for v in optimizer.variables],
        gradients,
        [v.value for v in variables],
    )
    pairs = zip([*variables, *optimizer.variables], [*new, *state])
    for variable, value in pairs:
        variable.assign(value)


# The module alone, without Keras, which takes seconds to import.
LOCK = """
import runpy, sys, time
lock = runpy.run_path(sys.argv[1])["lock_folder"](sys.argv[2])
print("locked", flush=True)
time.sleep(float(sys.argv[3]))
"""


@pytest.fixture
def start_locking():
    """Function that starts a process that locks a folder for some seconds."""
    started = []

    def start(folder, seconds=0, code=LOCK):
        arguments = [lock.__file__, str(folder), str(seconds)]
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    start.code = LOCK
    yield start
    for process in started:
        process.kill()
        process.communicate()
