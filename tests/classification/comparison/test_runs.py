import json
import types

import keras
import numpy as np
import pytest

from keras_epsanet.classification import batches
from keras_epsanet.classification import sources as images
from keras_epsanet.classification.comparison import runs, sources
from keras_epsanet.classification.comparison.networks import Frame
from keras_epsanet.training import RunFolder, make_strategy

if keras.backend.backend() != "tensorflow":
    pytest.skip("the pipeline needs TensorFlow", allow_module_level=True)

TINY = Frame("tiny", (1, 1), (16, 16))
GOES_ON = types.SimpleNamespace(requested=False)
STOPS = types.SimpleNamespace(requested=True)


@pytest.fixture
def source(dataset, monkeypatch):
    """Twelve images to train with, five to evaluate."""
    parts = dataset(12), dataset(5)
    monkeypatch.setattr(
        images, "open_images", lambda: images.Images(*parts, "noise")
    )
    return sources.open_source()


@pytest.fixture
def start(source, recipe, tmp_path):
    """Function that starts a run, or goes on with it."""

    def begin(name, seed=0, **fields):
        of_run = runs.recipe_of(recipe(**fields), TINY, name, seed)
        path = tmp_path / name / f"{seed}"
        return runs.start(path, of_run, TINY, name, source, make_strategy())

    return begin


def train(started, source, interruption=GOES_ON):
    return runs.train(started, source, make_strategy(), interruption, 1000)


@pytest.mark.parametrize("name", ["eca", "abn"])
def test_a_run_leaves_its_weights_and_its_last_accuracy(name, start, source):
    started = start(name, epochs=2)
    network, model, run, _, state = started
    result = train(started, source)
    json.dumps(result)
    assert state.epoch == result["epochs"] == 2
    held_out = batches.evaluation_batches(source.images.held_out, run.recipe)
    expected = model.evaluate(held_out, verbose=0, return_dict=True)
    assert result["top1"] == pytest.approx(expected["top1"])
    assert result["loss"] == pytest.approx(expected["loss"], rel=1e-4)
    main = keras.Model(network.inputs, network.outputs[0])
    trained = [x.copy() for x in main.get_weights()]
    main.set_weights([0 * x for x in trained])
    main.load_weights(f"{run.path}/last.weights.h5")
    for mine, theirs in zip(main.get_weights(), trained, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_run_goes_on_where_it_was(start, source):
    started = start("eca", epochs=2)
    with pytest.raises(SystemExit):
        train(started, source, STOPS)
    step = started[-1].step
    assert 0 < step < 6
    started = start("eca", epochs=2)
    assert started[-1].step == step
    train(started, source)
    assert started[-1].step == 6


def test_a_network_has_the_same_weights_in_whichever_order(start):
    first = start("eca")[0].get_weights()
    start("abn")
    for mine, theirs in zip(first, start("eca")[0].get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    other = start("eca", seed=1)[0].get_weights()
    assert not np.array_equal(first[0], other[0])


def test_checkpoints_of_a_finished_run_are_removed(recipe, tmp_path):
    run = RunFolder(tmp_path, recipe())
    assert (tmp_path / "checkpoints").is_dir()
    runs.remove_checkpoints(run.path)
    assert not (tmp_path / "checkpoints").exists()
    assert (tmp_path / "recipe.json").is_file()


@pytest.fixture
def trained(start):
    """What a run starts with, and the arguments of its only `fit`."""
    started = start("eca", epochs=2, ema=0.5)
    _, _, run, average, _ = started
    for variable in average.variables[:-2]:
        variable.assign(variable + 1)
    with open(f"{run.path}/log.csv", "w") as file:
        file.write("epoch,val_loss,val_top1\n0,2.5,0.75\n1,1.5,0.5\n")
    calls = []
    source = types.SimpleNamespace(fit=lambda *given: calls.append(given))
    return started, source, calls


def test_the_average_is_what_a_run_leaves(trained):
    started, source, calls = trained
    network, model, run, average, state = started
    expected = [x.numpy() for x in average.variables[:-2]]
    result = runs.train(started, source, "strategy", "interruption", 7)
    assert calls == [
        (model, average, "strategy", run, state, "interruption", 7)
    ]
    assert result.pop("seconds") < 60
    # Of the last epoch, though another one was better.
    assert result == {"top1": 0.5, "loss": 1.5, "epochs": 0, "seed": 0}
    main = keras.Model(network.inputs, network.outputs[0])
    average.swap_out()
    main.load_weights(f"{run.path}/last.weights.h5")
    for mine, theirs in zip(main.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_loss_that_is_not_finite_is_named_with_its_run(trained):
    started, source, _ = trained

    def fail(*_):
        raise FloatingPointError("The loss is nan")

    source.fit = fail
    with pytest.raises(FloatingPointError, match="eca/0: The loss is nan"):
        runs.train(started, source, "strategy", GOES_ON, 7)


def test_fields_of_the_recipe_reach_the_network(recipe):
    options = recipe(precision="mixed_bfloat16", sync_bn=True)
    network, model = runs.build(options, TINY, "none", 3)
    assert network.get_layer("conv1_conv").compute_dtype == "bfloat16"
    assert network.get_layer("conv1_bn").synchronized
    assert model.output.dtype == "float32"


def test_one_checkpoint_is_kept(start):
    _, _, run, average, state = start("none")
    assert run.keep == 1 and average is None and state.steps_per_epoch == 3
