"""Computes formation energies with the bundled CGCNN, and its activations, which FD CGCNN is taken over."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jaxtyping import Float

from jaxcrystal.cgcnn.graph import BatchSize, CgcnnConfig, ShellGraph, batches, build_graph
from jaxcrystal.cgcnn.network import WEIGHTS_FORMAT, CgcnnOutput, apply
from jaxcrystal.config import from_dict
from jaxcrystal.errors import DataError
from jaxcrystal.npz import Array, read_npz
from jaxcrystal.parameters import from_arrays

if TYPE_CHECKING:
    from pymatgen.core import Structure

#: Crystals below which more processes take longer to start than the work takes here.
_MANY = 4000
_SIZE = BatchSize()


@dataclass(frozen=True, eq=False)
class CgcnnModel:
    """A trained network.

    Attributes:
      config: graph and sizes.
      params: the weights.
      info: data, settings and errors (eV per atom) of the training: `test_mae`, ...
    """

    config: CgcnnConfig
    params: Any
    info: dict[str, Any] = field(default_factory=dict)


@lru_cache(maxsize=4)
def load_cgcnn(path: str | Path | None = None) -> CgcnnModel:
    """Reads weights that `cgcnn.train` wrote, or the bundled ones.

    Raises:
      DataError: no such file, or not one of weights.
    """
    source = Path(str(files("jaxcrystal") / "bundled" / "cgcnn.npz")) if path is None else Path(path)
    try:
        arrays = read_npz(source, {"format": Array("U", (3,)), "*": Array("f")})
        label = arrays.pop("format")
        if label[0] != WEIGHTS_FORMAT:
            raise ValueError(f"it is not of the format {WEIGHTS_FORMAT}")
        config = from_dict(CgcnnConfig, json.loads(str(label[1])))
        return CgcnnModel(config, from_arrays(arrays), json.loads(str(label[2])))
    except FileNotFoundError:
        raise DataError(f"{source} does not exist; `python -m jaxcrystal.cgcnn.train` makes one") from None
    except (DataError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{source} holds no CGCNN that can be read: {error}") from error


def activations(
    structures: "Sequence[Structure | None]", processes: int | None = None, model: CgcnnModel | None = None
) -> Float[np.ndarray, "n hidden"]:
    """Returns the activations of the second-to-last layer, whose Fréchet distance is FD CGCNN.

    Args:
      structures: [n] any cells; None for what could not be parsed.
      processes: worker processes for the graphs of thousands of crystals; default: this one,
        which makes about a thousand a second.
      model: default the bundled one.
    Returns:
      [n, hidden]; NaN for None, disordered or empty structures, and those whose cell is
      too flat for a neighbour search.
    """
    return _outputs(structures, processes, model)[1]


def formation_energies(
    structures: "Sequence[Structure | None]", processes: int | None = None, model: CgcnnModel | None = None
) -> Float[np.ndarray, " n"]:
    """Returns formation energies as the network estimates them, eV per atom; see `activations`.

    It was trained on crystals that relaxed by DFT, and does not know what is none: overlapping atoms
    get any energy.
    """
    return _outputs(structures, processes, model)[0]


def _outputs(
    structures: "Sequence[Structure | None]", processes: int | None, model: CgcnnModel | None
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n hidden"]]:
    """Returns energies and activations; NaN where there is no graph."""
    model = load_cgcnn() if model is None else model
    graphs = _graphs(structures, model.config, processes)
    known = [row for row, graph in enumerate(graphs) if graph is not None]
    energies, hidden = np.full(len(graphs), np.nan), np.full((len(graphs), model.config.hidden), np.nan)
    for chosen, batch in batches([graph for graph in graphs if graph is not None], _SIZE):
        rows = known[chosen]
        output = _apply(model.params, model.config, batch)
        energies[rows] = np.asarray(output.energy)[: len(rows)]
        hidden[rows] = np.asarray(output.activations)[: len(rows)]
    return energies, hidden


@partial(jax.jit, static_argnums=1)
def _apply(params: Any, config: CgcnnConfig, batch: ShellGraph) -> CgcnnOutput:
    return apply(params, config, batch, _SIZE.crystals)


def _graphs(
    structures: "Sequence[Structure | None]", config: CgcnnConfig, processes: int | None
) -> list[ShellGraph | None]:
    cells = [None if structure is None else _cell(structure) for structure in structures]
    make = partial(_graph_or_none, config=config)
    if processes is None or processes <= 1 or len(cells) < _MANY:
        return [make(cell) for cell in cells]
    from jaxcrystal.workers import map_structures

    return map_structures(make, cells, processes=processes, description="CGCNN graphs")


Cell = tuple[np.ndarray, np.ndarray, np.ndarray]


def _cell(structure: "Structure") -> Cell | None:
    """Returns lattice, species and frac_coords; arrays travel faster than structures."""
    if not structure.is_ordered:
        return None
    species = np.array([getattr(site.specie, "Z", 0) for site in structure], np.int64)
    return np.array(structure.lattice.matrix), species, np.array(structure.frac_coords).reshape(-1, 3)


def _graph_or_none(cell: Cell | None, config: CgcnnConfig) -> ShellGraph | None:
    if cell is None:
        return None
    try:
        return build_graph(*cell, config)
    except ValueError:
        return None
