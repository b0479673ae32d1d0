"""The structure: imports go downwards, paths are built in one place, functions change no module-level object."""

import ast
import re
from pathlib import Path

import nbformat
import pandas as pd
import pytest

import functions
from detector.core import files
from detector.evaluation.results import COLUMNS

ORDER = ["core", "metrics", "data", "figures", "eda", "models", "provenance", "inference"]
ORDER += ["training", "evaluation", "report", "demo"]
MODULES = sorted((files.ROOT / "detector").rglob("*.py"))
SOURCES = [*MODULES, *sorted((files.ROOT / "benchmarks").glob("*.py")), files.ROOT / "functions.py"]
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}
MUTATING = {"append", "extend", "insert", "pop", "remove", "clear", "update", "setdefault", "add", "discard", "sort"}


def package_of(path: Path) -> str:
    """Return a module's package, or the module's name directly under detector/."""
    parts = path.relative_to(files.ROOT / "detector").with_suffix("").parts
    return parts[0]


def imports_of(tree: ast.AST) -> set[str]:
    """Return the packages of detector that a module imports, at its top or inside functions."""
    names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom) and node.module == "detector":
            names += [f"detector.{alias.name}" for alias in node.names]
    return {name.split(".")[1] for name in names if name.startswith("detector.")}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(files.ROOT)))
def test_imports_go_downwards(path):
    package = package_of(path)
    if package in ("__init__", "__main__"):
        return
    allowed = ORDER[: ORDER.index(package) + 1]
    assert imports_of(TREES[path]) <= set(allowed)


def test_every_package_has_its_place_in_the_order():
    packages = {path.parent.name for path in MODULES if path.name == "__init__.py"} - {"detector"}
    assert packages == set(ORDER)
    assert not [
        path for path in MODULES if path.parent.name == "detector" and path.stem not in ("__init__", "__main__")
    ]


def test_lower_packages_would_be_noticed():
    assert "demo" in imports_of(ast.parse("def f():\n    from detector.demo import app"))
    assert "core" in imports_of(ast.parse("from detector import core"))


def test_paths_are_built_in_one_place():
    for path, tree in TREES.items():
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert "__file__" not in names or path.name == "files.py", path


def module_level_names(tree: ast.Module) -> set[str]:
    targets = [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
    targets += [node.target for node in tree.body if isinstance(node, ast.AnnAssign)]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def changed_names(function: ast.AST) -> set[str]:
    """Return the names whose objects a function declares global, assigns into, or changes by a method."""
    changed = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Global):
            changed |= set(node.names)
        if isinstance(node, ast.Assign | ast.AugAssign | ast.Delete):
            targets = node.targets if isinstance(node, ast.Assign | ast.Delete) else [node.target]
            owners = [t.value for t in targets if isinstance(t, ast.Subscript | ast.Attribute)]
            changed |= {owner.id for owner in owners if isinstance(owner, ast.Name)}
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATING:
            changed |= {node.func.value.id} if isinstance(node.func.value, ast.Name) else set()
    return changed


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(files.ROOT)))
def test_no_function_changes_a_module_level_object(path):
    tree = TREES[path]
    functions_ = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    for function in functions_:
        own = {node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        own |= {argument.arg for argument in ast.walk(function.args) if isinstance(argument, ast.arg)}
        assert not changed_names(function) & module_level_names(tree) - own, function.name


def test_hidden_state_would_be_noticed():
    tree = ast.parse("_apps = []\n_label = {}\ndef f(app):\n    _apps.append(app)\n    _label['text'] = 'x'")
    assert changed_names(tree.body[2]) & module_level_names(tree) == {"_apps", "_label"}


@pytest.mark.parametrize("path", [files.RESULTS, *sorted(files.STUDIES_DIR.glob("*.csv"))], ids=lambda path: path.stem)
def test_every_results_file_has_the_common_columns(path):
    assert pd.read_csv(path, nrows=1).columns.tolist() == COLUMNS


def test_no_other_results_file_exists():
    tables = {
        *files.ROOT.glob("benchmarks/**/*.csv"),
        *files.ROOT.glob("models/*.csv"),
        *files.ROOT.glob("models/*.json"),
    }
    assert tables == {files.RESULTS, files.PREDICTIONS, *files.STUDIES_DIR.glob("*.csv")}


def test_the_notebook_uses_few_names():
    """At most 40 names of functions.py, eight packages among them, and each name of functions.py is used somewhere."""
    code = [cell.source for cell in nbformat.read(files.NOTEBOOK, 4).cells if cell.cell_type == "code"]
    used = set(re.findall(r"\bfn\.(\w+)", "\n".join(code)))
    assert used <= set(functions.__all__)
    assert len(used) <= 40
    assert len(functions.PACKAGES) <= 8
    documented = set(re.findall(r"\bfn\.(\w+)", functions.__doc__ + files.README.read_text(encoding="utf-8")))
    assert set(functions.__all__) == used | documented


def test_nothing_is_imported_by_star():
    for path, tree in TREES.items():
        stars = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.names[0].name == "*"]
        assert not stars, path


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(files.ROOT)))
def test_no_unsafe_pickle_is_read(path):
    """Unpickling a file can run any code in it."""
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"\bimport (?:pickle|dill|shelve)\b|joblib\.load|allow_pickle|read_pickle", text)
    assert all("weights_only=True" in call for call in re.findall(r"torch\.load\(.*", text))


def test_predict_owns_the_only_sigmoid():
    """Training alone may use a loss that works on logits; nothing but `probabilities` turns them into P(FAKE)."""
    for path, tree in TREES.items():
        names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        names |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        has_sigmoid = bool(names & {"sigmoid", "Sigmoid", "expit", "softmax", "logsigmoid"})
        assert has_sigmoid == (path == files.ROOT / "detector/inference/predict.py"), path
