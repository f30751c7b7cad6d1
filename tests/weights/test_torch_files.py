import argparse
import pathlib

import numpy as np
import pytest

from keras_epsanet.weights.torch_files import (
    check_ending,
    import_for_files,
    read_checkpoint,
    read_content,
    to_arrays,
    to_numpy,
)

torch = pytest.importorskip("torch")


@pytest.mark.parametrize(
    "value, dtype",
    [
        (np.ones(2, "float16"), "float32"),
        (np.ones(2, "float32"), "float32"),
        (np.ones(2, "float64"), "float64"),
        (np.ones(2, "int64"), "int64"),
        (torch.ones(2, dtype=torch.float16), "float32"),
        (torch.ones(2, dtype=torch.bfloat16), "float32"),
        (torch.ones(2, dtype=torch.float32), "float32"),
        (torch.ones(2, dtype=torch.float64), "float64"),
        (torch.ones(2, dtype=torch.int64), "int64"),
        (torch.nn.Parameter(torch.ones(2)), "float32"),
    ],
    ids=str,
)
def test_only_short_floats_change_their_type(value, dtype):
    array = to_numpy(value)
    assert type(array) is np.ndarray and array.dtype == dtype
    np.testing.assert_array_equal(array, [1, 1])


@pytest.mark.parametrize("value", [np.ones(99, "float32"), torch.ones(99)])
def test_arrays_share_no_memory_with_what_they_are_of(value):
    # A variable of JAX may keep the memory of the array that it is given.
    array = to_numpy(value)
    value *= 2
    np.testing.assert_array_equal(array, 1)


def test_names_lose_the_prefix_of_parallel_training_alone():
    state = {
        "module.a": np.ones(1),
        "a.module.b": np.ones(2),
        "modules": np.ones(3),
    }
    expected = {"a": 1, "a.module.b": 2, "modules": 3}
    for content in (state, {"state_dict": state, "epoch": 3}):
        arrays = to_arrays(content, "it")
        assert {key: len(array) for key, array in arrays.items()} == expected


@pytest.mark.parametrize(
    "content",
    [
        None,
        [np.ones(1)],
        {"a": 1},
        {1: np.ones(1)},
        {"a": np.ones(1), "epoch": 3},
        {"state_dict": [np.ones(1)]},
        {"state_dict": {"a": 1}},
    ],
    ids=str,
)
def test_what_is_no_state_dict_is_refused(content):
    with pytest.raises(ValueError, match="dictionary of tensors.*it does not"):
        to_arrays(content, "it")


@pytest.mark.parametrize(
    "names",
    [
        ("state_dict", "optimizer"),
        ("model", "optimizer"),
        ("state_dict_ema", "state_dict"),  # timm
        ("model_ema", "model"),  # torchvision, DeiT
        ("model_ema", "state_dict"),
        # MMEngine swaps them: `state_dict` is the averaged one.
        ("state_dict", "ema_state_dict"),
    ],
)
def test_the_averaged_one_of_several_state_dicts_is_used(names):
    for order in (names, names[::-1]):
        content = {name: {f"module.of_{name}": np.ones(1)} for name in order}
        content |= {"epoch": 3, "version": 2}
        assert list(to_arrays(content, "it")) == [f"of_{names[0]}"]


def test_the_number_of_averaged_weights_is_dropped():
    state = {"n_averaged": np.array(7), "module.a": np.ones(1)}
    for content in (state, {"model_ema": state, "model": {}}):
        assert list(to_arrays(content, "it")) == ["a"]


@pytest.mark.parametrize("is_zip", [True, False])
def test_the_arguments_of_a_training_script_are_read(is_zip, tmp_path):
    # torchvision and timm save what argparse returned.
    args = argparse.Namespace(lr=0.5, betas=(0.9, 0.99), model="resnet50")
    content = {"model": {"a": torch.ones(2)}, "args": args, "epoch": 3}
    path = tmp_path / "checkpoint.pth"
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    assert read_content(path)["args"] == args
    assert list(read_checkpoint(path)) == ["a"]


@pytest.mark.parametrize("ending", [".pth", ".pt", ".pth.tar", ".safetensors"])
def test_endings(ending):
    assert check_ending(f"a/b{ending}") == f"a/b{ending}"
    assert check_ending(pathlib.Path(f"a/b{ending}")) == f"a/b{ending}"
    for path in (f"a{ending}.zip", f"a{ending.upper()}", ending[1:]):
        with pytest.raises(ValueError, match=f".pth.tar.*path={path}$"):
            check_ending(path)


def test_a_missing_package_is_named():
    assert import_for_files("torch", "torch") is torch
    with pytest.raises(ImportError, match="needs some: pip install some"):
        import_for_files("no_such_module", "some")


def test_folders_and_missing_files_are_refused(tmp_path):
    folder = tmp_path / "folder.pth"
    folder.mkdir()
    for path in (folder, tmp_path / "nothing.safetensors"):
        with pytest.raises(ValueError, match=f"no file {path}. Received"):
            read_checkpoint(path)


@pytest.mark.parametrize(
    "number",
    [
        np.float64(0.5),
        np.float32(0.5),
        np.float16(0.5),
        np.int64(3),
        np.uint8(3),
        np.bool_(True),
        np.str_("caffe"),
        np.datetime64("2021-06-01"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("is_zip", [True, False])
def test_numbers_of_numpy_beside_the_tensors_are_read(number, is_zip, tmp_path):
    path = tmp_path / "checkpoint.pth"
    content = {"meta": {"best": number}, "state_dict": {"a": torch.ones(2)}}
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    assert read_content(path)["meta"]["best"] == number
    assert list(read_checkpoint(path)) == ["a"]


def test_numbers_of_former_versions_of_numpy_are_read(tmp_path):
    path = tmp_path / "checkpoint.pth"
    content = {"meta": np.float64(0.5), "state_dict": {"a": torch.ones(2)}}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    assert b"numpy._core.multiarray" in data
    path.write_bytes(data.replace(b"numpy._core.", b"numpy.core."))
    assert read_content(path)["meta"] == 0.5


class Code:
    def __reduce__(self):
        return exec, ("open('executed', 'w')",)


@pytest.mark.parametrize(
    "value",
    [
        np.array([Code()], dtype=object),
        np.array([1.0]),
        np.void(b"12"),
        np.dtype([("a", object)]),
        argparse.Namespace(inner=Code()),
    ],
    ids=["objects", "array", "void", "fields", "arguments"],
)
def test_more_is_refused(value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"meta": value, "state_dict": {}}, "checkpoint.pth")
    with pytest.raises(ValueError, match="can run any code"):
        read_checkpoint("checkpoint.pth")
    assert not pathlib.Path("executed").exists()


def test_files_that_are_none_are_named_in_a_line(tmp_path):
    torch.save({"a": Code()}, tmp_path / "code.pth")
    (tmp_path / "text.pth").write_text("no model")
    (tmp_path / "empty.pth").touch()
    # Not a word of PyTorch's on how to run the code anyway.
    for name, reason in (
        ("code", "so it is refused: Unsupported global: GLOBAL exec [^:.]*$"),
        ("text", "so it is refused: Unsupported operand 110$"),
        ("empty", "is an empty file. Received: path="),
    ):
        with pytest.raises(ValueError, match=reason) as caught:
            read_content(tmp_path / f"{name}.pth")
        assert "\n" not in str(caught.value)


def test_pickles_of_pytorch_are_read_and_not_written(tmp_path):
    path = tmp_path / "seresnet50.pkl"
    # As PyTorch wrote it when SENet's port was published.
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    np.testing.assert_array_equal(read_checkpoint(path)["a"], [1, 1])
    with pytest.raises(ValueError, match="must end in .*safetensors. Received"):
        check_ending(path)
