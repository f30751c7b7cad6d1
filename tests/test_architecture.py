"""The house: imports run downwards, and nothing is too long to be read."""

import ast
import graphlib
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = ROOT / "keras_epsanet"
# From the top down; what stands in one line may be imported by those above.
FLOORS = (
    ("commands",),
    ("explain", "hub"),
    ("classification", "detection"),
    ("training",),
    ("data",),
    ("graph", "models"),
    ("weights",),
    ("attention",),
    ("layers", "distribution"),
    ("ops",),
    ("atomic", "integers", "lazy", "moved", "paper"),
    ("storage",),
    ("storage_tensorflow",),
)
FLOOR = {room: i for i, rooms in enumerate(FLOORS) for room in rooms}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(
        ".__init__"
    ): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def room(module):
    return module.split(".")[1]


def imports(module):
    """Modules of the package that a module imports, wherever it does."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names & set(MODULES)
            if names - set(MODULES):
                found.add(node.module)
    return {name for name in found if name in MODULES} - {module}


@pytest.mark.parametrize("module", [m for m in MODULES if "." in m])
def test_imports_run_downwards(module):
    for other in imports(module):
        # The package itself stands above all; its commands may use it.
        if other == "keras_epsanet":
            assert room(module) == "commands", f"{module} imports the package"
        elif room(other) != room(module):
            assert FLOOR[room(module)] < FLOOR[room(other)], (
                f"{module} imports {other}"
            )


def test_imports_have_no_circle():
    graphlib.TopologicalSorter(
        {module: imports(module) for module in MODULES}
    ).prepare()


@pytest.mark.parametrize("module", MODULES)
def test_a_file_is_read_in_one_sitting(module):
    source = MODULES[module].read_text()
    assert len(source.splitlines()) <= 300
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[ast.get_docstring(node) is not None :]
            length = node.end_lineno - body[0].lineno + 1 if body else 0
            assert length <= 50, f"{node.name} has {length} lines"


@pytest.mark.parametrize(
    "module", [m for m, path in MODULES.items() if path.stem != "__init__"]
)
def test_every_module_has_a_file_of_tests(module):
    path = MODULES[module].relative_to(PACKAGE)
    tests = ROOT / "tests" / path.parent / f"test_{path.name}"
    assert tests.is_file(), f"no {tests.relative_to(ROOT)}"


def test_every_file_of_tests_has_its_room():
    rooms = {path.parent.relative_to(PACKAGE) for path in MODULES.values()}
    others = {pathlib.Path(x) for x in ("benchmarks", "examples", "tools")}
    tests = ROOT / "tests"
    folders = {x.parent.relative_to(tests) for x in tests.rglob("test_*.py")}
    assert folders <= rooms | others


def test_tests_that_are_called_slow_exist():
    names = (ROOT / "tests/slow.txt").read_text().split()
    assert len(names) == len(set(names)) and names == sorted(names)
    for name in names:
        path, *_, function = name.split("::")
        text = (ROOT / path).read_text()
        assert f"def {function}(" in text, name
