"""Imports go down only: DESIGN.md, «Architecture». Each module says in its docstring to which layer it belongs."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "eventmw"

# The word after «Layer:» → rank. A module may import its own rank and those below.
RANKS = {
    "vocabulary": 0,
    "pure": 1,
    "assembly": 2,
    "open folder": 2,  # a dialect: pure, and it works with the engine
    "input and output": 3,
    "gateways": 4,
    "people": 5,
}
PURE = 2

# Whole folders whose place does not depend on what their files say.
FOLDERS = {"eventmw.cli": "people", "eventmw.demo": "people"}
# Modules that only gather names, and so say nothing of layers.
GATHER = {"eventmw": "gateways", "eventmw.protocols": "vocabulary"}

IMPURE = {
    "aiohttp", "asyncio", "fcntl", "http.client", "http.server", "multiprocessing", "os", "random", "secrets", "select",
    "selectors", "shutil", "signal", "socket", "sqlite3", "ssl", "starlette", "subprocess", "sys", "tempfile", "threading",
    "time", "urllib.request", "werkzeug",
}  # fmt: skip
IMPURE_CALLS = {"now", "utcnow", "today", "urandom", "open", "uuid1", "uuid4", "print", "getaddrinfo"}
# What a pure module may all the same, and why.
ALLOWED = {
    ("eventmw.config", "os"): "os.fspath and os.PathLike: a path is data; the journal opens it",
    ("eventmw.secret", "os"): "a secret that is named by an environment variable is read when it is needed",
    ("eventmw.tools.file", "os"): "os.fspath and os.PathLike: a path is data; the transport opens it",
}
OPEN_FOLDERS = ("eventmw.tools", "eventmw.protocols")


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text())


def layer(module: str) -> str | None:
    for folder, name in FOLDERS.items():
        if module == folder or module.startswith(folder + "."):
            return name
    if module in GATHER:
        return GATHER[module]
    said = re.search(r"^Layer: (.*)", ast.get_docstring(tree(module)) or "", re.MULTILINE)
    return next((name for name in RANKS if said and said.group(1).startswith(name)), None)


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """Return everything that can run: what stands below ``if TYPE_CHECKING`` cannot."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            for other in child.orelse:
                yield from statements(other)
            continue
        yield child
        yield from statements(child)


def imported(module: str) -> Iterator[str]:
    """Return the modules that a module imports, at its top or inside a function."""
    for node in statements(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively; write the whole name"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else str(node.module)


def own(module: str) -> set[str]:
    return {name for name in imported(module) if name in MODULES and name != module}


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_its_layer(module: str) -> None:
    assert layer(module) is not None, f"{module} needs a line «Layer: …» in its docstring: one of {', '.join(RANKS)}"


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down_only(module: str) -> None:
    rank = RANKS[layer(module) or "people"]
    up = {name: layer(name) for name in own(module) if RANKS[layer(name) or "people"] > rank}
    assert not up, f"{module} ({layer(module)}) imports from above"


def test_there_is_no_cycle() -> None:
    try:
        TopologicalSorter({module: own(module) for module in MODULES}).prepare()
    except CycleError as error:
        pytest.fail(f"a cycle of imports: {' → '.join(reversed(error.args[1]))}")


@pytest.mark.parametrize("folder", OPEN_FOLDERS)
def test_siblings_in_an_open_folder_never_import_each_other(folder: str) -> None:
    def member(module: str) -> str | None:
        return module.removeprefix(folder + ".").split(".")[0] if module.startswith(folder + ".") else None

    for module in MODULES:
        if (mine := member(module)) is not None:
            others = {member(name) for name in own(module)} - {None, mine}
            assert not others, f"{module} imports its siblings {others}"


PURE_MODULES = [module for module in MODULES if RANKS[layer(module) or "people"] <= PURE]


@pytest.mark.parametrize("module", PURE_MODULES)
def test_the_pure_layers_touch_no_world(module: str) -> None:
    names = set(imported(module))
    impure = {name for name in names if name in IMPURE or name.split(".")[0] in IMPURE}
    assert impure <= {name for owner, name in ALLOWED if owner == module}
    calls = {
        node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name)
    }
    assert not calls & IMPURE_CALLS


def test_nothing_is_allowed_that_is_not_used() -> None:
    for module, name in ALLOWED:
        assert name in set(imported(module))


@pytest.mark.parametrize("module", [module for module in MODULES if layer(module) == "vocabulary"])
def test_the_vocabulary_needs_the_standard_library_only(module: str) -> None:
    foreign = {name.split(".")[0] for name in imported(module)} - sys.stdlib_module_names - {"eventmw"}
    assert not foreign


def test_one_module_imports_jsonschema() -> None:
    assert [module for module in MODULES if "jsonschema" in set(imported(module))] == ["eventmw.schema"]


def test_the_package_imports_something() -> None:
    """So that an empty graph does not pass for a clean one."""
    assert "eventmw.exchange" in own("eventmw.asgi")
    assert "eventmw.asgi" in own("eventmw"), "an import inside a function counts"
    assert len(PURE_MODULES) > 20
