"""Imports run downward only, and `import jaxcrystal` stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import jaxcrystal

PACKAGE = Path(jaxcrystal.__file__).parent
#: Bottom first: a module imports from its own room and from those before it.
ROOMS = (
    "environment",
    "limits",
    "errors",
    "cache",
    "elements",
    "text",
    "files",
    "folders",
    "npz",
    "remote",
    "workers",
    "background",
    "config",
    "vectors",
    "plotting",
    "crystal",
    "parameters",
    "symmetry",
    "graph",
    "models",
    "score",
    "diffusion",
    "letters",
    "model",
    "io",
    "data",
    "training",
    "requests",
    "structures",
    "sampling",
    "cgcnn",
    "evaluation",
    "discovery",
    "reports",
    "commands",
    "cli",
)
#: Rooms that may ask the package's root for its version; nothing else may be imported from there,
#: since the root's public names come from everywhere.
ASK_FOR_THE_VERSION = ("reports", "commands", "cli")
#: Heavy libraries, and the only rooms that may import them.
CONFINED = {
    "flax": ("models", "cgcnn"),
    "optax": ("training", "cgcnn"),
    "orbax": ("training",),
    "gemmi": ("symmetry", "io"),
    "pymatgen": ("letters", "io", "data", "structures", "cgcnn", "evaluation", "discovery", "reports"),
    "ase": ("io", "structures", "discovery", "reports"),
}


def _modules() -> list[str]:
    return sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def _room(module: str) -> str:
    return module.split("/")[0].removesuffix(".py")


class _WithoutTypeChecking(ast.NodeTransformer):
    """Drops what stands below `if TYPE_CHECKING:` and so is never imported."""

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        return node.orelse if ast.unparse(node.test).endswith("TYPE_CHECKING") else node


def _imports(module: str, type_checking: bool = True) -> set[str]:
    """Returns the dotted names that a file imports anywhere, in functions too."""
    tree = ast.parse((PACKAGE / module).read_text())
    if not type_checking:
        tree = _WithoutTypeChecking().visit(tree)
    package = ["jaxcrystal", *module.split("/")[:-1]]
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package[: len(package) + 1 - node.level] if node.level else []
            parts += node.module.split(".") if node.module else []
            names.update(".".join([*parts, alias.name]) for alias in node.names)
    return names


def test_imports_run_downward() -> None:
    wrong = []
    for module in _modules():
        if module == "__init__.py":
            continue
        room = _room(module)
        assert room in ROOMS, f"{room} has no place in the list of rooms"
        for name in _imports(module):
            first, *rest = name.split(".")
            if first != "jaxcrystal":
                continue
            if rest == ["__version__"] and room in ASK_FOR_THE_VERSION:
                continue
            if not rest or rest[0] not in ROOMS:
                wrong.append(f"{module} imports {name} from the package's root")
            elif ROOMS.index(rest[0]) > ROOMS.index(room):
                wrong.append(f"{module} imports {name}, which is above it")
    assert not wrong, "\n".join(wrong)


def test_heavy_libraries_are_confined() -> None:
    wrong = [
        f"{module} imports {library}"
        for module in _modules()
        for library in {name.split(".")[0] for name in _imports(module, type_checking=False)} & set(CONFINED)
        if _room(module) not in CONFINED[library]
    ]
    assert not wrong, "\n".join(wrong)


def test_import_is_light() -> None:
    """`import jaxcrystal` loads none of the heavy libraries."""
    script = f"import sys, jaxcrystal; print([name for name in {sorted(CONFINED)} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_public_names_load() -> None:
    for name in jaxcrystal.__all__:
        assert getattr(jaxcrystal, name) is not None
        assert name in dir(jaxcrystal)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'crystal_ball'"):
        jaxcrystal.crystal_ball  # noqa: B018
