import inspect

import keras
import pytest

from keras_epsanet.training import EpochSchedule


def test_survives_serialisation():
    config = {
        "peak": 0.5,
        "steps_per_epoch": 7,
        "epochs": 9,
        "kind": "cosine",
        "decay_epochs": [1, 2.5],
        "decay_factor": 0.25,
        "warm_up_epochs": 1.5,
    }
    assert set(inspect.signature(EpochSchedule).parameters) == set(config)
    schedule = EpochSchedule(**config)
    assert schedule.get_config() == config
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(schedule)
    )
    assert type(copy) is EpochSchedule and copy.get_config() == config


def test_another_kind_is_refused():
    with pytest.raises(ValueError, match="Received: kind=linear"):
        EpochSchedule(0.1, 10, 10, kind="linear")


def test_the_rate_rises_from_the_first_step_to_the_peak():
    schedule = EpochSchedule(0.4, 10, 10, warm_up_epochs=0.4)
    rates = [float(schedule(step)) for step in range(5)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])


@pytest.mark.parametrize(
    "decay_epochs, falls",
    [
        (2, [20, 40]),
        (1.25, [12, 24, 36, 48]),
        # Each of them once.
        ((2, 3.25), [20, 32]),
        ([0.5], [5]),
        # Not less than a step.
        (0.01, list(range(1, 50))),
    ],
)
def test_the_rate_falls_after_these_steps(decay_epochs, falls):
    schedule = EpochSchedule(
        1.0, 10, 5, decay_epochs=decay_epochs, decay_factor=0.5
    )
    for step in range(50):
        times = sum(step >= fall for fall in falls)
        assert float(schedule(step)) == pytest.approx(0.5**times)


def test_steps_count_from_the_start_whatever_the_warm_up():
    options = {"decay_epochs": 2, "decay_factor": 0.5}
    plain = EpochSchedule(1.0, 10, 6, **options)
    warm = EpochSchedule(1.0, 10, 6, **options, warm_up_epochs=3)
    assert float(warm(29)) == 1 and float(plain(29)) == 0.5
    for step in range(30, 60):
        assert float(warm(step)) == float(plain(step))


def test_the_cosine_stays_at_zero_after_its_end():
    schedule = EpochSchedule(1.0, 10, 4, kind="cosine", warm_up_epochs=2)
    rates = [float(schedule(step)) for step in (19, 20, 30, 40, 50)]
    assert rates == pytest.approx([1, 1, 0.5, 0, 0], abs=1e-6)


def test_defaults_are_the_paper_s():
    assert EpochSchedule(0.1, 10, 120).get_config() == {
        "peak": 0.1,
        "steps_per_epoch": 10,
        "epochs": 120,
        "kind": "step",
        "decay_epochs": 30,
        "decay_factor": 0.1,
        "warm_up_epochs": 0,
    }
