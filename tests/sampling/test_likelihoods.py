"""How likely known structures are to a model: the numbers, whatever their cells, and as a rank."""

import csv
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from jaxcrystal.cli import main
from jaxcrystal.data.symmetrize import symmetrize
from jaxcrystal.diffusion.likelihood import likelihood_bound
from jaxcrystal.errors import RequestError
from jaxcrystal.graph.neighbors import ImageCapacity
from jaxcrystal.io.convert import pymatgen_json_text
from jaxcrystal.sampling.likelihoods import likelihoods
from jaxcrystal.symmetry.crystals import build_crystal
from tests.tiny import make_tiny_model


def rutile(u: float, length: float = 4.6) -> Structure:
    lattice = Lattice.tetragonal(length, 2.96)
    return Structure.from_spacegroup("P4_2/mnm", lattice, ["Ti", "O"], [[0] * 3, [u, u, 0]])


STRUCTURES = [rutile(0.305), None, rutile(0.25, 5.0), rutile(0.35)]
#: Atoms that coincide.
CLOSE = Structure(Lattice.cubic(4.0), ["Na", "Cl"], [[0] * 3, [0.001, 0, 0]])


@pytest.fixture(scope="module")
def model():
    """Of weights of which all are something: fresh networks predict no noise at all."""
    tiny = make_tiny_model()
    leaves, tree = jax.tree.flatten(tiny.params)
    rng = np.random.default_rng(0)
    leaves = [jnp.asarray(leaf + 0.1 * rng.standard_normal(leaf.shape), leaf.dtype) for leaf in leaves]
    return replace(tiny, params=jax.tree.unflatten(tree, leaves))


@pytest.fixture(scope="module")
def found(model):
    return likelihoods([*STRUCTURES, CLOSE], model)


def test_numbers(model, found) -> None:
    """As the bound itself gives them for one crystal at a time, without padding."""
    assert np.isnan(found[[1, 4]]).all()
    for place in (0, 2):
        sites = symmetrize(STRUCTURES[place])
        crystal = build_crystal(
            *(sites.space_group, sites.species, sites.letters, sites.frac_coords, sites.lattice_params)
        )
        capacity = ImageCapacity.fitting(jax.tree.map(lambda array: array[None], crystal), True)
        score, crystal = model.score(capacity), jax.tree.map(jnp.asarray, crystal)
        bound = likelihood_bound(jax.random.key(0), score, crystal, model.sampling_schedule)
        assert found[place] == pytest.approx(float(bound), rel=1e-4)
    assert len(np.unique(found[[0, 2, 3]])) == 3


def test_the_cell_does_not_matter(model, found) -> None:
    other = rutile(0.305).copy()
    other.make_supercell([[1, 1, 0], [0, 1, 0], [0, 0, 1]])
    other.translate_sites(range(len(other)), [0.5, 0.5, 0.5])
    assert likelihoods([other, *STRUCTURES[1:]], model)[0] == pytest.approx(found[0], rel=1e-3)


def test_conditions_are_not_known(model) -> None:
    told = replace(model, info=model.info | {"cond": ["band_gap"]})
    with pytest.raises(RequestError, match="trained with the conditions band_gap"):
        likelihoods(STRUCTURES, told)


def test_as_a_rank(model, found, tmp_path, capsys) -> None:
    model.save(tmp_path / "model")
    source = tmp_path / "some.json"
    source.write_text(pymatgen_json_text({str(n): s for n, s in enumerate(STRUCTURES) if s is not None}))
    command = ["screen", str(source), "--rank", "likelihood", "--model", str(tmp_path / "model")]
    assert main([*command, "--processes", "1", "--out", str(tmp_path / "kept")]) == 0
    assert "minus_log_likelihood" in capsys.readouterr().out
    with (tmp_path / "kept" / "screening.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    values = [float(row["minus_log_likelihood"]) for row in rows]
    assert values == sorted(values)
    assert {row["id"] for row in rows} == {"0", "2", "3"}
    for row in rows:
        assert float(row["minus_log_likelihood"]) == pytest.approx(found[int(row["id"])], rel=1e-3)
