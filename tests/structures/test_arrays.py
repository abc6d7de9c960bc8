"""Samples as one file of arrays, read by whatever reads structures."""

import numpy as np
import pytest

from jaxcrystal.data.dataset import Dataset
from jaxcrystal.data.prepare import prepare
from jaxcrystal.errors import DataError
from jaxcrystal.io.readers import read_structures
from jaxcrystal.requests.orders import make_order
from jaxcrystal.sampling.sample import sample_orders
from jaxcrystal.structures.entries import load_entries
from jaxcrystal.structures.summary import describe, summary_row
from jaxcrystal.structures.writers import write_samples


@pytest.fixture(scope="module")
def folder(samples, tmp_path_factory):
    return write_samples(samples, tmp_path_factory.mktemp("arrays") / "out", ("npz",), "none")


def test_a_data_set_of_the_samples(samples, folder) -> None:
    stored = Dataset.load(folder / "structures.npz")
    assert stored.ids.tolist() == [sample.name for sample in samples]
    for row, sample in enumerate(samples):
        crystal = stored.crystal(row)
        for name in ("species", "frac_coords", "lattice_params", "site_ops", "site_projection"):
            np.testing.assert_array_equal(getattr(crystal, name), getattr(sample.crystal, name))
        assert stored.columns["valid"][row] == sample.valid
        assert stored.columns["status"][row] == int(sample.flags)
        assert stored.columns["shortest_distance"][row] == sample.audit.shortest_distance
        assert (stored.columns["score_coords"][row], stored.columns["score_lattice"][row]) == pytest.approx(
            sample.scores, nan_ok=True
        )
    assert "found_group" not in stored.columns


def test_groups_are_columns_where_they_were_looked_for(samples, tmp_path) -> None:
    out = write_samples(samples, tmp_path / "out", ("npz",), "strict")
    columns = Dataset.load(out / "structures.npz").columns
    assert columns["found_group"].tolist() == [sample.found_group for sample in samples]
    assert columns["found_group_strict"].tolist() == [sample.found_group_strict for sample in samples]


def test_the_same_bytes_again(samples, folder, tmp_path) -> None:
    again = write_samples(samples, tmp_path / "out", ("npz",), "none")
    assert (again / "structures.npz").read_bytes() == (folder / "structures.npz").read_bytes()


def test_entries_of_folder_and_file(samples, folder) -> None:
    of_folder, of_file = load_entries(folder), load_entries(folder / "structures.npz")
    for entries in (of_folder, of_file):
        assert [entry.name for entry in entries] == [sample.name for sample in samples]
    for entry, sample in zip(of_folder, samples, strict=True):
        assert entry.structure == sample.to_pymatgen()
        assert (entry.requested_group, entry.letters) == (sample.space_group, sample.wyckoff)


def test_prepare_reads_folder_and_file(samples, folder, tmp_path) -> None:
    for source in (folder, folder / "structures.npz"):
        every = [name for name, _ in read_structures(source)]
        names = [name for name in every if not name.startswith("trajectories")]
        assert names == [sample.name for sample in samples]
        out = tmp_path / f"{source.name}.out.npz"
        report = prepare(source, out, processes=1, progress=False, keep=["shortest_distance"])
        assert report.read == len(every)
        kept = Dataset.load(out)
        kept = kept.select(np.isin(kept.ids, names))
        distances = {sample.name: sample.audit.shortest_distance for sample in samples}
        assert [distances[name] for name in kept.ids] == kept.columns["shortest_distance"].tolist()


def test_sampled_cells_are_not_those_to_learn_from(tiny_model, tmp_path) -> None:
    """In groups 1-15 they are whatever came out: read as crystals, refused as data until prepared."""
    low = sample_orders([make_order(2, {"O": 1, "Ti": 1})], 2, tiny_model, random_start=True)
    path = write_samples(low, tmp_path / "out", ("npz",), "none") / "structures.npz"
    with pytest.raises(DataError, match="2 structures of groups 1 to 15 that are not in their canonical"):
        Dataset.load(path)
    assert len(Dataset.load(path, any_cell=True)) == len(load_entries(path)) == 2


def test_only_the_samplers_name_is_found_in_folders(folder, tmp_path) -> None:
    """A prepared data set may lie among the structures that it was made of."""
    (tmp_path / "data.npz").write_bytes((folder / "structures.npz").read_bytes())
    (tmp_path / "a.json").write_text("{}")
    assert list(read_structures(tmp_path)) == []


def test_damaged_arrays_are_one_failed_structure(folder, tmp_path) -> None:
    (tmp_path / "structures.npz").write_bytes((folder / "structures.npz").read_bytes()[:-300])
    ((name, error),) = read_structures(tmp_path)
    assert name == "structures.npz"
    assert "is damaged" in str(error)


def test_the_table_says_that_groups_were_not_checked(samples) -> None:
    rows = [summary_row(sample, "none") for sample in samples]
    text, _ = describe(rows)
    assert "; their groups were not checked; " in text
    both = [summary_row(samples[0]), *rows[1:]]
    assert f" in a supergroup of it, {len(rows) - 1} not checked; " in describe(both)[0]
