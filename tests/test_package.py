import ast
import configparser
import importlib.machinery
import inspect
import json
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

import keras_epsanet

ROOT = pathlib.Path(__file__).parent.parent


# What a fresh process has after nothing but the import of the package. With
# JAX, for there Keras itself does not load TensorFlow.
AFTER_IMPORT = """
import json, sys
import keras
before = {name.partition(".")[0] for name in sys.modules}
import keras_epsanet
after = {name.partition(".")[0] for name in sys.modules}
find = keras.saving.get_registered_object
print(json.dumps({
    "before": sorted(before),
    "loaded": sorted(after - before),
    "names": dir(keras_epsanet),
    "unregistered": [name for name in NAMES if find(name) is None],
}))
"""


@pytest.fixture(scope="module")
def registered_names():
    """The classes of the package that a saved file can hold."""
    names = []
    for path in sorted((ROOT / "keras_epsanet").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            for decorator in getattr(node, "decorator_list", ()):
                if "register_keras_serializable" in ast.unparse(decorator):
                    names.append(f"keras_epsanet>{node.name}")
    return names


@pytest.fixture(scope="module")
def imported(registered_names):
    result = subprocess.run(
        [sys.executable, "-c", f"NAMES = {registered_names}{AFTER_IMPORT}"],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": "jax"},
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout)


def test_import_needs_keras_and_numpy_only(imported):
    assert "tensorflow" not in imported["before"]
    optional = {"torch", "tensorflow", "safetensors", "tensorflow_datasets"}
    optional |= {"matplotlib", "keras_cv", "keras_hub", "pycocotools"}
    assert not optional & set(imported["loaded"])


def test_import_registers_all_that_a_file_can_hold(imported, registered_names):
    assert {"keras_epsanet>SGDL2", "keras_epsanet>RetinaNet"} < set(
        registered_names
    )
    assert imported["unregistered"] == []


def test_parts_are_attributes_after_import(imported):
    assert {"data", "detection", "layers", "training"} < set(imported["names"])


def test_all_names_what_there_is():
    for name in keras_epsanet.__all__:
        assert hasattr(keras_epsanet, name), name


def test_wheel_holds_the_package_its_data_and_their_license(tmp_path):
    # From a copy: a build leaves files behind that the next one picks up.
    source = tmp_path / "source"
    skipped = shutil.ignore_patterns(".*", "build", "*.egg-info", "runs")
    shutil.copytree(ROOT, source, ignore=skipped)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
        + ["--no-build-isolation", "--wheel-dir", str(tmp_path), str(source)],
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "keras_epsanet").rglob("*.py")
    }
    assert sources <= names
    assert "keras_epsanet_command.py" in names
    with zipfile.ZipFile(wheel) as file:
        (entries,) = (n for n in names if n.endswith("/entry_points.txt"))
        scripts = configparser.ConfigParser()
        scripts.read_string(file.read(entries).decode())
    assert dict(scripts["console_scripts"]) == {
        "keras-epsanet": "keras_epsanet_command:main"
    }
    data = [n for n in names if n.startswith("keras_epsanet/data/")]
    assert any("fashion_mnist" in n and n.endswith(".npz") for n in data)
    assert any("LICENSE" in n for n in data)
    assert not [n for n in names if n.startswith(("tests", "examples"))]


# Otherwise `import keras_epsanet.fuse as f` would be a module or a function,
# depending on what was imported before.
def test_no_module_has_the_name_of_an_exported_function():
    names = [
        name
        for name in keras_epsanet.__all__
        if not inspect.ismodule(getattr(keras_epsanet, name))
    ]
    assert "fuse" in names
    find = importlib.machinery.PathFinder.find_spec
    path = keras_epsanet.__path__
    assert find("keras_epsanet.layers", path)
    assert not [n for n in names if find(f"keras_epsanet.{n}", path)]


def test_errors_name_packages_and_no_extras():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = set(config["options.extras_require"])
    assert extras == {
        "torch",
        "export",
        "detection",
        "video",
        "hub",
        "examples",
        "docs",
        "test",
    }
    # No index has this package, so that its extras install nothing there.
    for path in (ROOT / "keras_epsanet").rglob("*.py"):
        assert "keras-epsanet[" not in path.read_text(), path


def test_tools_of_the_site_are_pinned():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = config["options.extras_require"]
    tools = extras["docs"].split()
    assert tools and all("==" in tool for tool in tools)
    # The tests read the site's docstrings with the same.
    (griffe,) = [tool for tool in tools if tool.startswith("griffe")]
    assert griffe in extras["test"].split()


@pytest.mark.parametrize(
    "file",
    [
        "LICENSE",
        "CITATION.cff",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "README.md",
    ],
)
def test_project_files_are_there(file):
    assert (ROOT / file).read_text().strip()
