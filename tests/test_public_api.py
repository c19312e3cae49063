"""The public face: what the stubs promise exists, is documented, and stays small."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import tomllib
import warnings
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from numpydoc.docscrape import FunctionDoc
from numpydoc.validate import validate

import asfusion

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "asfusion"
ROOMS = (
    "anatomy",
    "baselines",
    "clinical",
    "corners",
    "datasets",
    "extend",
    "federated",
    "fusion",
    "genomics",
    "notes",
    "imaging",
    "io",
    "serving",
    "sites",
    "targets",
)
STUBS = {"asfusion": PACKAGE, **{f"asfusion.{room}": PACKAGE / room for room in ROOMS}}
NAMES_AT_MOST = 68


def stub_names(package: str) -> dict[str, str]:
    """Return each public name of a package's stub with the module that defines it."""
    tree = ast.parse((STUBS[package] / "__init__.pyi").read_text())
    names = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            above = ".".join(package.split(".")[: package.count(".") + 2 - node.level])
            module = f"{above}.{node.module}" if node.module else package
            names.update({alias.asname or alias.name: module for alias in node.names})
    return names


def public_objects() -> dict[str, Any]:
    """Return every class and function of the public face under its full name."""
    found = {}
    for package in STUBS:
        module = importlib.import_module(package)
        for name in stub_names(package):
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isroutine(value):
                found[f"{package}.{name}"] = value
    return found


def public_paths() -> list[str]:
    """Return the full names of classes and functions without importing anything."""
    return [
        f"{package}.{name}"
        for package in STUBS
        for name, module in stub_names(package).items()
        if module != package and not name.startswith("__")
    ]


def is_constant(path: str) -> bool:
    return path.rpartition(".")[2].isupper()


CONSTANTS = [path for path in public_paths() if is_constant(path)]
CLASSES_AND_FUNCTIONS = [path for path in public_paths() if not is_constant(path)]


def resolve(path: str) -> Any:
    package, _, name = path.rpartition(".")
    return getattr(importlib.import_module(package), name)


# --- the stubs ------------------------------------------------------------------------


@pytest.mark.parametrize("package", STUBS)
def test_stub_and_package_agree(package: str) -> None:
    module = importlib.import_module(package)
    names = stub_names(package)
    assert sorted(module.__all__) == sorted(names)
    for name, defined_in in names.items():
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isroutine(value):
            assert value.__module__ == defined_in, f"{name} is defined in {value.__module__}"


def test_public_face_is_small() -> None:
    assert len(stub_names("asfusion")) <= NAMES_AT_MOST


def test_no_function_shares_a_name_with_a_module() -> None:
    """`asfusion.x` must never be a module before, and a function after, some import."""
    modules = {
        info.name.rpartition(".")[2]
        for info in pkgutil.walk_packages([str(PACKAGE)], prefix="asfusion.")
    }
    functions = {
        path.rpartition(".")[2] for path, value in public_objects().items() if callable(value)
    }
    assert not functions & modules


def test_version_is_one() -> None:
    from importlib.metadata import version

    assert asfusion.__version__ == version("asfusion")
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert f"## {asfusion.__version__}" in changelog
    assert f"version: {asfusion.__version__}" in (ROOT / "CITATION.cff").read_text()


def test_show_versions_names_each_dependency(capsys: pytest.CaptureFixture[str]) -> None:
    asfusion.show_versions()
    lines = capsys.readouterr().out.splitlines()
    versions = dict(line.split(maxsplit=1) for line in lines)
    assert versions["asfusion"] == asfusion.__version__
    assert {"python", "system", "accelerator", "torch", "scikit-learn", "xgboost"} <= set(versions)
    assert str(Path.home()) not in "\n".join(lines)


# --- docstrings -----------------------------------------------------------------------

# numpydoc's codes: a summary of one line with a period, each parameter of the signature
# described once and in order with its type, a described return value.
STRICT = {
    "GL08", "SS01", "SS03", "SS06", "PR01", "PR02", "PR03", "PR04", "PR07", "PR09", "PR10",
    "RT01", "RT03", "YD01",
}  # fmt: skip
OF_METHODS = {"GL08", "SS01", "SS03", "SS06", "PR02", "PR03", "PR10"}


def complaints(path: str, codes: set[str]) -> list[str]:
    with warnings.catch_warnings():
        # "Shape", where tensors pass, is this project's own section.
        warnings.filterwarnings("ignore", message="Unknown section Shape")
        return [f"{code} {text}" for code, text in validate(path)["errors"] if code in codes]


def own_methods(cls: type) -> list[str]:
    """Return the public methods that asfusion defines, not those of scikit-learn or torch."""
    return [
        name
        for name, value in inspect.getmembers(cls, inspect.isfunction)
        if not name.startswith("_") and value.__module__.startswith("asfusion")
    ]


@pytest.mark.parametrize("path", CLASSES_AND_FUNCTIONS)
def test_docstring_is_complete(path: str) -> None:
    value = resolve(path)
    assert complaints(path, STRICT) == []
    if not issubclass(type(value), type) or not issubclass(value, Exception):
        assert ">>>" in inspect.getdoc(value), "no example"


@pytest.mark.parametrize("path", CLASSES_AND_FUNCTIONS)
def test_docstrings_of_methods(path: str) -> None:
    value = resolve(path)
    if not inspect.isclass(value):
        return
    found = {m: complaints(f"{path}.{m}", OF_METHODS) for m in own_methods(value)}
    assert {method: errors for method, errors in found.items() if errors} == {}


def attribute_docstrings(module_file: Path) -> dict[str, str]:
    """Return the line below each assignment of a module's top level, where it is a string."""
    body = ast.parse(module_file.read_text()).body
    found = {}
    for node, below in pairwise(body):
        text = below.value if isinstance(below, ast.Expr) else None
        if not (isinstance(text, ast.Constant) and isinstance(text.value, str)):
            continue
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        found.update({t.id: text.value for t in targets if isinstance(t, ast.Name)})
    return found


@pytest.mark.parametrize("path", CONSTANTS)
def test_constant_says_what_it_is(path: str) -> None:
    package, _, name = path.rpartition(".")
    module = stub_names(package)[name]
    stated = attribute_docstrings((ROOT / module.replace(".", "/")).with_suffix(".py"))
    assert not callable(resolve(path))
    assert stated.get(name, "").endswith("."), f"{name} of {module} has no line below it"


def stated_defaults(value: Any) -> dict[str, str]:
    """Return the default that a docstring states for each parameter, as text."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Unknown section Shape")
        parameters = FunctionDoc(value)["Parameters"]
    stated = {}
    for parameter in parameters:
        match = re.search(r"default(?:s to)?[ =:]+(.+)$", parameter.type)
        if match:
            stated[parameter.name] = match[1].strip("`. ")
    return stated


@pytest.mark.parametrize("path", CLASSES_AND_FUNCTIONS)
def test_stated_defaults_are_the_defaults(path: str) -> None:
    value = resolve(path)
    signature = inspect.signature(value).parameters
    for name, text in stated_defaults(value).items():
        default = signature[name].default
        assert text in {repr(default), str(default)}, f"{name}: {text} stated, is {default!r}"


# --- the reference pages --------------------------------------------------------------


def documented() -> list[str]:
    """Return what the reference pages show, one entry per mkdocstrings block."""
    pages = sorted((ROOT / "docs" / "reference").rglob("*.md"))
    return [name for page in pages for name in re.findall(r"^::: (\S+)", page.read_text(), re.M)]


def test_reference_shows_every_public_name_once() -> None:
    shown = documented()
    assert sorted(set(public_paths()) - set(shown)) == []
    assert sorted({name for name in shown if shown.count(name) > 1}) == []


def test_reference_shows_nothing_that_is_not_there() -> None:
    for path in documented():
        if path != "asfusion.exceptions":
            resolve(path)


def test_every_page_of_the_docs_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()
    pages = [p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md")]
    assert [page for page in pages if page not in navigation] == []


# --- imports inside the package -------------------------------------------------------


def package_imports() -> list[tuple[Path, ast.ImportFrom | ast.Import]]:
    files = sorted(PACKAGE.rglob("*.py"))
    return [(file, node) for file in files for node in imports_and_names(file)[0]]


@cache
def imports_and_names(
    module_file: Path,
) -> tuple[list[ast.ImportFrom | ast.Import], set[str]]:
    """Return the imports in a module, and the names that it binds itself other than by import."""
    imports, names = [], set()
    for node in ast.walk(ast.parse(module_file.read_text())):
        if isinstance(node, ast.ImportFrom | ast.Import):
            imports.append(node)
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return imports, names


def test_imports_come_from_the_module_that_defines_the_name() -> None:
    """Cycles between packages pass through an ``__init__``: none is imported from."""
    wrong = []
    for file, node in package_imports():
        where = f"{file.relative_to(ROOT)}:{node.lineno}"
        if isinstance(node, ast.Import):
            wrong += [where for alias in node.names if alias.name.split(".")[0] == "asfusion"]
            continue
        if node.level:
            wrong.append(where)
        if not (node.module or "").startswith("asfusion"):
            continue
        base = ROOT / (node.module or "").replace(".", "/")
        for alias in node.names:
            is_submodule = (base / f"{alias.name}.py").is_file()
            module_file = base.with_suffix(".py")
            is_definition = (
                module_file.is_file() and alias.name in imports_and_names(module_file)[1]
            )
            if not (is_submodule or is_definition):
                wrong.append(f"{where} {alias.name}")
    assert wrong == []


def test_exceptions_and_version_import_nothing() -> None:
    for name in ("exceptions", "_version"):
        tree = ast.parse((PACKAGE / f"{name}.py").read_text())
        modules = [n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
        assert set(modules) <= {"__future__"}
        assert not [n for n in ast.walk(tree) if isinstance(n, ast.Import)]


def test_stubs_and_type_marker_are_packaged() -> None:
    for package, folder in STUBS.items():
        assert (folder / "__init__.pyi").is_file(), package
    assert (PACKAGE / "py.typed").is_file()


def normal(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def test_constraints_pin_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    # Flower pins older helpers than the rest, and so has constraints of its own; NVFlare has too.
    beside = ("federated", "nvflare", "cluster", "serving")
    files = ("constraints.txt", *(f"constraints-{name}.txt" for name in beside))
    lines = [line for file in files for line in (ROOT / file).read_text().splitlines()]
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    pinned = {normal(name) for name in pins}
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    assert {normal(line) for declared in lists for line in declared} <= pinned
    # A local version such as "+cpu" exists on no index that everyone reaches.
    assert not [pin for pin in pins.values() if "+" in pin]
    assert not {"torchvision", "timm"} & pinned


@pytest.mark.parametrize(
    "name", ["InputError", "ConfigurationError", "ShapeError", "BundleError", "CheckpointError"]
)
def test_errors_are_also_value_errors(name: str) -> None:
    error = getattr(asfusion.exceptions, name)
    assert issubclass(error, asfusion.exceptions.AsfusionError)
    assert issubclass(error, ValueError)
