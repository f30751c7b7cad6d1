import argparse
import importlib
import importlib.metadata
import json
import os
import pathlib
import subprocess
import sys
import types

import pytest

import keras_epsanet_command

ROOT = pathlib.Path(__file__).parent.parent
FILES = {path.stem for path in (ROOT / "keras_epsanet/commands").glob("*.py")}
# What the words have in common, and parts of single ones.
SHARED = {
    "__init__",
    "detect_video",
    "explained_images",
    "explained_models",
    "named_images",
    "options",
    "outputs",
    "reporting",
    "trained_models",
}


def run(*arguments, code="import keras_epsanet_command as c; c.main()"):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_every_word_has_a_file_and_every_file_a_word():
    words = {word.replace("-", "_") for word in keras_epsanet_command.WORDS}
    assert words == FILES - SHARED


def test_the_help_lists_the_words_and_imports_nothing():
    code = """
import json, sys
import keras_epsanet_command
try:
    keras_epsanet_command.main()
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""
    result = run("--help", code=code)
    assert result.returncode == 0
    for word, text in keras_epsanet_command.WORDS.items():
        (line,) = (x for x in result.stdout.splitlines() if x.endswith(text))
        assert line.split()[0] == word
    imported = {name.partition(".")[0] for name in json.loads(result.stderr)}
    assert not imported & {"keras", "keras_epsanet", "numpy", "tensorflow"}


@pytest.mark.parametrize(
    "arguments, message",
    [([], "required: WORD"), (["nothing"], "invalid choice: 'nothing'")],
)
def test_an_unknown_word_is_refused(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        keras_epsanet_command.main(arguments)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert "keras-epsanet: error: " in error and message in error


@pytest.fixture
def called(monkeypatch):
    """What the module of a word is called with, and with which variables."""
    called = types.SimpleNamespace(result=None)

    def main(arguments, program):
        called.arguments, called.program = arguments, program
        if called.result is not None:
            raise called.result

    def import_module(name):
        called.name = name
        called.variables = {
            x: os.environ.get(x) for x in keras_epsanet_command.VARIABLES
        }
        return types.SimpleNamespace(main=main)

    for name in keras_epsanet_command.VARIABLES:
        monkeypatch.setenv(name, "to be restored")
        monkeypatch.delenv(name)
    monkeypatch.setattr(
        keras_epsanet_command.importlib, "import_module", import_module
    )
    return called


def test_the_module_of_the_word_gets_the_rest(called):
    keras_epsanet_command.main(["train-coco", "--help", "--epochs", "3"])
    assert called.name == "keras_epsanet.commands.train_coco"
    assert called.arguments == ["--help", "--epochs", "3"]
    assert called.program == "keras-epsanet train-coco"


def test_arguments_come_from_the_process_unless_they_are_given(
    called, monkeypatch
):
    monkeypatch.setattr(sys, "argv", ["keras-epsanet", "export", "--fuse"])
    keras_epsanet_command.main()
    assert called.program == "keras-epsanet export"
    assert called.arguments == ["--fuse"]


def test_variables_are_set_before_tensorflow_unless_they_are(
    called, monkeypatch
):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    keras_epsanet_command.main(["predict"])
    assert called.variables == {
        "TF_ENABLE_ONEDNN_OPTS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "0",
    }


def test_ctrl_c_ends_with_130(called):
    called.result = KeyboardInterrupt()
    with pytest.raises(SystemExit) as caught:
        keras_epsanet_command.main(["predict"])
    assert caught.value.code == 130


def test_a_word_runs_its_command_alone():
    code = """
import sys
import keras_epsanet_command
try:
    keras_epsanet_command.main()
finally:
    print([x for x in sys.modules if x.startswith("keras_epsanet.commands.")])
"""
    result = run("complexity", "tiny", "--image-size", "32", code=code)
    assert result.returncode == 0, result.stderr[-2000:]
    *_, total, modules = result.stdout.splitlines()
    assert total.startswith("total ")
    names = {name.rpartition(".")[2] for name in eval(modules)}
    shared = {"options", "reporting", "trained_models"}
    assert names == {"complexity", *shared}


def test_the_help_of_a_word_is_all_that_is_printed():
    result = run("predict", "--help")
    assert result.returncode == 0 and "--output FILE" in result.stdout
    assert not result.stderr


def test_what_is_dropped_is_what_is_written_meanwhile(capfd):
    with pytest.raises(ValueError):
        with keras_epsanet_command.silent_descriptor(2):
            os.write(2, b"dropped")
            raise ValueError
    os.write(2, b"kept")
    assert capfd.readouterr().err == "kept"


def test_messages_have_the_name_of_the_word():
    result = run("complexity", "none.keras")
    assert result.returncode == 1
    assert "keras-epsanet complexity: none.keras cannot" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_command_is_installed_under_its_name():
    text = (ROOT / "setup.cfg").read_text()
    (line,) = (x for x in text.splitlines() if "keras-epsanet =" in x)
    entry = importlib.metadata.EntryPoint(
        *(x.strip() for x in line.split("=")), group="console_scripts"
    )
    assert entry.load() is keras_epsanet_command.main


@pytest.mark.parametrize("word", keras_epsanet_command.WORDS)
def test_options_are_not_abbreviated(word, monkeypatch):
    """`--seed 5` must not be `--seeds 5`, which is something else."""

    class Parsed(Exception):
        pass

    def parse(parser, *_):
        raise Parsed(parser)

    name = f"keras_epsanet.commands.{word.replace('-', '_')}"
    main = importlib.import_module(name).main
    with monkeypatch.context() as patches:
        patches.setattr(argparse.ArgumentParser, "parse_args", parse)
        with pytest.raises(Parsed) as caught:
            main([])
    (parser,) = caught.value.args
    for part in (*parser._actions, *parser._mutually_exclusive_groups):
        part.required = False
    options = {x for x in parser._option_string_actions if len(x) > 4}
    short = {option[:-1] for option in options} - options
    assert len(short) > 2
    for option in short:
        _, unknown = parser.parse_known_args([option, "1"])
        assert option in unknown


def test_the_first_word_is_not_abbreviated(capsys):
    with pytest.raises(SystemExit):
        keras_epsanet_command.main(["--hel"])
    assert "required: WORD" in capsys.readouterr().err
