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
