"""The house keeps its rules: who imports whom, who asks whom, how large a part may grow.

`docs/design/index.md` and the contracts in `pyproject.toml` say the rest; what is here is what
import-linter cannot see: circles of modules within a room (imports for types alone and inside
functions count), questions about the class of one of our own objects, and budgets.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "asfusion"

Trees = dict[str, ast.Module]


def name_of(file: Path) -> str:
    """Return the module that a file is, ``asfusion.fusion`` for its ``__init__``."""
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = {name_of(file): file for file in sorted(PACKAGE.rglob("*.py"))}
TREES: Trees = {name: ast.parse(file.read_text("utf-8")) for name, file in FILES.items()}


def where(module: str) -> str:
    return FILES[module].relative_to(PACKAGE).as_posix()


# -- who imports whom --------------------------------------------------------------------


def imported(tree: ast.Module) -> Iterator[str]:
    """Yield every name that is imported anywhere in a module, with the module it is from."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports inside the package name it"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def graph_of(trees: Trees) -> dict[str, set[str]]:
    """Return the modules of the package that each of them imports."""

    def module(name: str) -> str:
        return name if name in trees else name.rpartition(".")[0]

    return {name: {module(n) for n in imported(tree)} & set(trees) for name, tree in trees.items()}


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Return the modules of a circle, the first one again at the end, or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_circle_of_modules() -> None:
    found = circle(graph_of(TREES))
    assert not found, " - ".join(found)


def test_a_circle_through_types_and_functions_is_found() -> None:
    trees = {
        "a": ast.parse("if TYPE_CHECKING:\n    from b import B"),
        "b": ast.parse("def f():\n    import c"),
        "c": ast.parse("from a import A"),
    }
    assert set(circle(graph_of(trees))) == {"a", "b", "c"}
    assert circle(graph_of({**trees, "c": ast.parse("from d import A")})) == []


def test_at_most_ten_layers() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    [layers] = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    assert len(layers) <= 10


# -- who asks whom -----------------------------------------------------------------------


def subclasses(of: str, room: str) -> set[str]:
    """Return the names of the classes in a room that descend from one, by its name."""
    nodes = [
        node
        for name, tree in TREES.items()
        if name.startswith(room)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    ]
    found = {of}
    while more := {n.name for n in nodes if found & names_in(*n.bases)} - found:
        found |= more
    return found - {of}


def names_in(*nodes: ast.AST) -> set[str]:
    """Return the last part of every name within expressions."""
    every = [part for node in nodes for part in ast.walk(node)]
    return {n.id for n in every if isinstance(n, ast.Name)} | {
        n.attr for n in every if isinstance(n, ast.Attribute)
    }


ENCODERS = subclasses("Encoder", "asfusion.encoders")
ATTRIBUTIONS = {
    node.name
    for name, tree in TREES.items()
    if name.startswith("asfusion.explanation.")
    for node in tree.body
    if isinstance(node, ast.ClassDef) and node.name.endswith("Attribution")
}
# The rooms in which a class may be asked for, as beginnings of paths.
AT_HOME = ("encoders/", "explanation/of_", "persistence")


def asked_classes(tree: ast.Module) -> Iterator[tuple[int, set[str]]]:
    """Yield each line that asks for the class of an object, and the classes it names."""
    # A name for several classes: `_PIXELS = (ImageEncoder, VolumeEncoder)`.
    groups = {
        target.id: names_in(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        names: set[str] = set()
        if isinstance(node, ast.Call) and names_in(node.func) & {"isinstance", "issubclass"}:
            names = names_in(*node.args[1:])
        elif isinstance(node, ast.Compare) and _is_of_type(node):
            names = names_in(*node.comparators, node.left)
        elif isinstance(node, ast.MatchClass):
            names = names_in(node.cls)
        if names:
            yield getattr(node, "lineno", 0), names.union(*(groups.get(n, set()) for n in names))


def _is_of_type(node: ast.Compare) -> bool:
    return any(
        (isinstance(part, ast.Call) and names_in(part.func) == {"type"})
        or (isinstance(part, ast.Attribute) and part.attr == "__class__")
        for part in (node.left, *node.comparators)
    )


def test_nobody_asks_an_encoder_or_an_attribution_for_its_class() -> None:
    found = [
        f"{where(module)}:{line} asks for {', '.join(sorted(asked))}"
        for module, tree in TREES.items()
        if not where(module).startswith(AT_HOME)
        for line, names in asked_classes(tree)
        if (asked := names & (ENCODERS | ATTRIBUTIONS))
    ]
    assert not found, "\n".join(found)


def test_the_classes_that_are_not_asked_for_are_derived() -> None:
    public = re.findall(r"import (\w+Encoder) as", (PACKAGE / "__init__.pyi").read_text("utf-8"))
    assert len(public) >= 8
    assert set(public) <= ENCODERS
    assert {"TableAttribution", "ImageAttribution", "TextAttribution"} <= ATTRIBUTIONS


@pytest.mark.parametrize(
    "code",
    [
        "isinstance(x, TextEncoder)",
        "isinstance(x, str | TextEncoder)",
        "isinstance(x, (str, af.TextEncoder))",
        "issubclass(x, TextEncoder)",
        "type(x) is TextEncoder",
        "x.__class__ == TextEncoder",
        "match x:\n    case TextEncoder(): pass",
        "NOTES = (TextEncoder,)\ndef f(x):\n    return isinstance(x, NOTES)",
    ],
)
def test_every_way_to_ask_for_a_class_is_found(code: str) -> None:
    assert any("TextEncoder" in names for _, names in asked_classes(ast.parse(code)))


# A decision by what is predicted: a condition that names it, or a comparison with it. To count by
# hand, give `grep -rnE` the pattern that `python -m tests.test_architecture` prints.
_WORDS = r'\b(is_classifier|is_regressor|n_classes)\b|"(binary|multiclass|regression)"'
ASKS = re.compile(
    rf"\b(if|elif|while|match|case|assert)\b.*({_WORDS})"
    rf"|({_WORDS}|\btask) *[=!]="
    rf"|[=!]= *({_WORDS})"
)


def test_few_lines_branch_on_what_is_predicted() -> None:
    """Whatever depends on the target is asked of it: see `asfusion.targets`."""
    found = Counter(
        where(module)
        for module, file in FILES.items()
        for line in file.read_text("utf-8").splitlines()
        if ASKS.search(line)
    )
    told = ", ".join(f"{file} {n}" for file, n in found.most_common())
    assert found.total() <= 30, told
    assert len(found) <= 8, told


# -- how large a part may grow -------------------------------------------------------------


def test_no_file_over_600_lines() -> None:
    long = {where(m): len(f.read_text("utf-8").splitlines()) for m, f in FILES.items()}
    assert {file: n for file, n in long.items() if n > 600} == {}


# The parts of the synthetic cohort, and of cells that hold visits: each reads as one list.
KEPT_TOGETHER = {"datasets/_axspa", "encoders/_visit"}


def test_three_files_with_one_prefix_are_a_folder() -> None:
    prefixes = Counter(
        where(module).rpartition("/")[0] + "/" + found[1]
        for module, file in FILES.items()
        if (found := re.match(r"(_[a-z0-9]+)_", file.stem))
    )
    assert {prefix for prefix, n in prefixes.items() if n >= 3} - KEPT_TOGETHER == set()
    assert all(prefixes[prefix] >= 3 for prefix in KEPT_TOGETHER), "an exception without need"


if __name__ == "__main__":
    print(ASKS.pattern)
