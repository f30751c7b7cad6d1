import types

import pytest

from keras_epsanet.classification.imagenet import finishing


class Run:
    """Notes what it is asked for, in this order."""

    path, is_chief = "runs/some", True

    def __init__(self):
        self.calls = []

    def export(self, network, name):
        self.calls.append((network, name))
        return f"digits of {name}"

    def restore(self, model, steps, step, average):
        self.calls.append(("restore", model, steps, step, average))


class Average:
    def __init__(self, calls):
        self.calls = calls

    def swap_in(self):
        self.calls.append("swap in")


def state(best_step):
    return types.SimpleNamespace(
        best_step=best_step, best_value=0.5, steps_per_epoch=10
    )


def recalibrate_in(run, value=None):
    def recalibrate():
        run.calls.append("recalibrate")
        return value

    return recalibrate


# Better or worse than the 0.5 of the best epoch.
@pytest.mark.parametrize("value", [None, 0.625, 0.375])
def test_the_last_weights_are_saved_and_then_the_best(capsys, value):
    run = Run()
    average = Average(run.calls)
    recalibrate = recalibrate_in(run, value)
    finishing.export("network", "model", average, run, state(30), recalibrate)
    again = [("restore", "model", 10, 30, average), "swap in"]
    assert run.calls == [
        "swap in",
        ("network", "last.weights.h5"),
        ("restore", "model", 10, 30, average),
        "swap in",
        "recalibrate",
        *(again if value == 0.375 else []),
        ("network", "best.weights.h5"),
    ]
    printed = capsys.readouterr().out
    assert "digits of best.weights.h5  best.weights.h5\n" in printed
    assert "Best: epoch 3, top-1 50.00%" in printed
    if value is not None:
        assert f"recalibrated: {value:.2%}" in printed


def test_without_a_best_epoch_the_last_weights_are_all(capsys):
    run = Run()
    run.is_chief = False
    recalibrate = recalibrate_in(run)
    finishing.export("network", "model", None, run, state(None), recalibrate)
    assert run.calls == [("network", "last.weights.h5")]
    assert not capsys.readouterr().out
