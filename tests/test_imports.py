"""Imports run downward only, and `import jaxcrystal` stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import jaxcrystal

PACKAGE = Path(jaxcrystal.__file__).parent
#: Bottom first: a module imports from its own layer and from those before it.
LAYERS = (
    "environment",
    "ahead",
    "errors",  # before the configuration: a wrong setting is a JaxcrystalError too
    "config",
    "crystal",
    "symmetry",
    "graph",
    "models",
    "diffusion",
    "data",
    "training",
    "sampling",
    "evaluation",
    "commands",
    "cli",
)
#: Heavy libraries, and the only layers that may import them.
CONFINED = {
    "flax": ("models",),
    "optax": ("training",),
    "orbax": ("training",),
    "pymatgen": ("data", "evaluation"),
    "ase": ("data", "evaluation"),
}


def _modules() -> list[str]:
    return sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def _layer(module: str) -> str:
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


@pytest.mark.parametrize("module", [name for name in _modules() if name != "__init__.py"])
def test_imports_run_downward(module: str) -> None:
    layer = _layer(module)
    assert layer in LAYERS, f"{layer} has no place in the list of layers"
    for name in _imports(module):
        first, *rest = name.split(".")
        if first == "jaxcrystal" and rest and rest[0] in LAYERS:
            assert LAYERS.index(rest[0]) <= LAYERS.index(layer), f"{module} imports {name}, which is above it"


@pytest.mark.parametrize("module", _modules())
@pytest.mark.parametrize("library", CONFINED)
def test_heavy_libraries_are_confined(module: str, library: str) -> None:
    if _layer(module) not in CONFINED[library]:
        assert library not in {name.split(".")[0] for name in _imports(module, type_checking=False)}


def test_import_is_light() -> None:
    """`import jaxcrystal` loads none of the heavy libraries."""
    script = f"import sys, jaxcrystal; print([name for name in {sorted(CONFINED)} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("name", jaxcrystal.__all__)
def test_public_names_load(name: str) -> None:
    assert getattr(jaxcrystal, name) is not None
    assert name in dir(jaxcrystal)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'crystal_ball'"):
        jaxcrystal.crystal_ball  # noqa: B018
