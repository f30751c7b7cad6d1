import importlib
import os
import signal
import types

import keras
import numpy as np
import pytest

from keras_epsanet.commands import reporting
from keras_epsanet.commands.reporting import one_line_errors
from keras_epsanet.training import ClassifierRecipe, State

RECIPE = ClassifierRecipe(epochs=2)


@pytest.mark.parametrize("error", reporting.ERRORS)
def test_an_error_ends_with_a_line(error):
    with pytest.raises(SystemExit, match="^mine: reason$"):
        with reporting.one_line_errors("mine"):
            raise error("reason")


@pytest.mark.parametrize(
    "error",
    [AssertionError, KeyError, NotImplementedError, RecursionError, TypeError],
)
def test_a_mistake_in_the_code_keeps_its_traceback(error):
    with pytest.raises(error):
        with reporting.one_line_errors("mine"):
            raise error("reason")


def test_missing_packages_are_named_with_the_command():
    reporting.check_installed(["numpy"], "It")
    with pytest.raises(
        ImportError,
        match=r"^It needs nine and ten: pip install nine ten$",
    ):
        reporting.check_installed(["nine", "numpy", "ten"], "It")


@pytest.mark.parametrize("word", ["predict", "detect"])
def test_the_help_tells_of_the_status_after_bad_files(word, capsys):
    module = importlib.import_module(f"keras_epsanet.commands.{word}")
    with pytest.raises(SystemExit):
        module.parse(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert text.endswith("but ends with the status 1.")


@pytest.mark.parametrize("error", [KeyError, OSError, TypeError, ValueError])
def test_a_file_that_cannot_be_used_is_named(error):
    with pytest.raises(SystemExit, match="^mine: a.keras cannot be used: "):
        with reporting.usable("mine", "a.keras"):
            raise error("reason")


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="an error of TensorFlow"
)
def test_a_storage_that_cannot_be_reached_is_named():
    import tensorflow as tf

    with pytest.raises(SystemExit, match="^mine: gs://a cannot be used: no b"):
        with reporting.usable("mine", "gs://a"):
            raise tf.errors.FailedPreconditionError(None, None, "no\tb\nc")
    with pytest.raises(AttributeError), reporting.usable("mine", "gs://a"):
        raise AttributeError


def test_ctrl_c_ends_with_130_and_advice(capsys):
    for context, text in (
        (reporting.one_line_errors("mine"), "\nmine: interrupted\n"),
        (
            reporting.training_errors("mine"),
            "\nmine: interrupted. The same command goes on from the last "
            "checkpoint\n",
        ),
    ):
        with pytest.raises(SystemExit) as caught:
            with context:
                raise KeyboardInterrupt
        assert caught.value.code == 130
        assert capsys.readouterr().err == text


@pytest.mark.parametrize(
    "number, code", [(signal.SIGTERM, 75), (signal.SIGINT, 130)]
)
@pytest.mark.parametrize("is_chief", [True, False])
def test_a_signal_ends_a_training_with_a_line(number, code, is_chief, capfd):
    state = State(steps_per_epoch=3)
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as caught:
        with reporting.interruptible("mine", RECIPE, state, is_chief) as asked:
            state.step = 4
            os.kill(os.getpid(), number)
            # As `Checkpointing` ends, whichever signal it was.
            raise SystemExit(75) if asked.requested else AssertionError
    assert caught.value.code == code
    line = "mine: stopped after step 4 of 6. The same command goes on from"
    assert (line in capfd.readouterr().err) == is_chief
    assert signal.getsignal(number) is before


def test_a_signal_in_the_last_epoch_ends_a_training_too(capsys):
    state = State(step=6, steps_per_epoch=3)
    with pytest.raises(SystemExit) as caught:
        with reporting.interruptible("mine", RECIPE, state) as interruption:
            reporting.end_if_interrupted(interruption)
            os.kill(os.getpid(), signal.SIGTERM)
            reporting.end_if_interrupted(interruption)
    assert caught.value.code == 75
    assert "after step 6 of 6" in capsys.readouterr().err


def test_a_signal_to_another_worker_ends_this_one_too():
    asked = []

    def agree(requested):
        asked.append(requested)
        return True

    with pytest.raises(SystemExit) as caught:
        with reporting.interruptible("mine", RECIPE, State()) as interruption:
            reporting.end_if_interrupted(interruption, agree)
    assert caught.value.code == 75 and asked == [False]


@pytest.mark.parametrize(
    "step, lines",
    [
        (0, ["The first step"]),
        (4, ["Going on after step 4 of 6, in epoch 2 of 2", "The first step"]),
        (6, ["Going on after step 6 of 6"]),
    ],
)
def test_a_training_says_from_where_it_goes_on(step, lines, capsys):
    strategy = types.SimpleNamespace(num_replicas_in_sync=2)
    state = State(step=step, steps_per_epoch=3)
    reporting.report_start("tiny", strategy, "9 images", RECIPE, state)
    first, *others = capsys.readouterr().out.splitlines()
    assert first == "tiny on 2 device(s): 9 images"
    assert len(others) == len(lines)
    assert all(map(str.startswith, others, lines))
    assert others[0] == lines[0] or not step


@pytest.mark.parametrize(
    "before, is_longer", [(None, False), (2, False), (1, True)]
)
def test_more_epochs_change_the_rate(before, is_longer, capsys):
    before = before and ClassifierRecipe(epochs=before)
    reporting.report_longer(RECIPE, before)
    text = capsys.readouterr().out
    assert text.startswith("2 epochs instead of 1: from here") == is_longer
    assert bool(text) == is_longer


def test_bad_images_are_named(capsys):
    reporting.report_bad([])
    assert not capsys.readouterr().out
    reporting.report_bad(["a.jpg", "b.jpg"])
    assert capsys.readouterr().out == "2 images are bad:\na.jpg\nb.jpg\n"


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="images are decoded by TensorFlow",
)
def test_bad_files_are_named_and_skipped(tmp_path, capsys):
    good, bad = f"{tmp_path}/good.png", f"{tmp_path}/bad.png"
    keras.utils.save_img(good, np.ones((4, 6, 3)))
    open(bad, "w").close()
    skipped = []
    found = list(reporting.decoded([bad, good], skipped, "mine"))
    assert [path for path, _ in found] == [good] and skipped == [bad]
    assert found[0][1].shape == (4, 6, 3)
    assert capsys.readouterr().err.startswith(f"mine: {bad} cannot be decoded")


def test_what_was_skipped_is_no_success():
    with pytest.raises(SystemExit, match="^mine: 1 of 2 images skipped$"):
        reporting.end_if_skipped("mine", ["a", "b"], ["b"])
    reporting.end_if_skipped("mine", ["a", "b"], [])


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="made of tf.data"
)
def test_errors_of_a_pipeline_are_one_line_too(capsys):
    import tensorflow as tf

    def read(number):
        raise ValueError(f"More than 1 % of the images are bad: {number}")

    images = tf.data.Dataset.range(3).map(
        lambda i: tf.numpy_function(read, [i], "int64")
    )
    with pytest.raises(SystemExit) as caught, one_line_errors("mine"):
        list(images)
    text = "mine: More than 1 % of the images are bad: 0"
    assert caught.value.code == text
    # Other errors of TensorFlow are mistakes in the code.
    with pytest.raises(tf.errors.InvalidArgumentError):
        with one_line_errors("mine"):
            tf.reshape([1, 2], [3])


@pytest.mark.parametrize("is_screen, interval", [(True, 0.05), (False, 10)])
def test_a_bar_in_a_file_has_few_lines(is_screen, interval, monkeypatch):
    monkeypatch.setattr(reporting.sys.stdout, "isatty", lambda: is_screen)
    bar = reporting.progress_bar(7)
    assert (bar.target, bar.interval, bar.unit_name) == (7, interval, "image")
    assert reporting.progress_bar(7, "batch").unit_name == "batch"
