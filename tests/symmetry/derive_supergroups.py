"""Writes `jaxcrystal/symmetry/subgroups.json`: run `python -m tests.symmetry.derive_supergroups`.

The types of all maximal subgroups of every space group, from its operations alone; spglib
only names the type of each subgroup. By Hermann's theorem a maximal subgroup H of G keeps
either all translations T of G or all of its point group P (International Tables, volume A1):

1. all of T: H is what lies over a maximal subgroup of P, and all of those are listed;
2. all of P: T and H together make G, so T(H) = T ∩ H is normal in G, and T / T(H) has no
   P-invariant subgroup. It is therefore an irreducible representation of P over the field
   of p elements for a prime p, of dimension 1, 2 or 3, and T(H) contains pT. All of these
   lattices are listed for a prime, and over each all groups: the translations of P's
   generators are moved by every class of T / T(H), and those are kept that close.

For a prime p > 3, which does not divide the order of P, the group over T(H) is unique up to
conjugation by T, and H is G with axes multiplied by p: its translations, which are 24ths at
most, are those of G times the inverse of p modulo 24. A prime that is 1 modulo 24 therefore
gives G's own type, and `PRIMES` holds 2, 3 and one prime of every other residue class.
"""

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import spglib

from jaxcrystal.symmetry.wyckoff import group_operations

PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23)
TARGET = Path(__file__).parents[2] / "jaxcrystal" / "symmetry" / "subgroups.json"


class Operations(NamedTuple):
    """A space group in a primitive basis: `x -> rotations[g] @ x + translations[g]`, modulo integers."""

    rotations: np.ndarray
    translations: np.ndarray
    metric: np.ndarray


def maximal_subgroups(number: int, primes: tuple[int, ...] = PRIMES) -> list[int]:
    """Returns the types of the maximal subgroups of a group, without its own type."""
    group = _primitive_operations(number)
    found = {_type(_part(group, part), np.eye(3, dtype=int)) for part in _maximal_parts(group.rotations)}
    for prime in primes:
        for functionals, basis in _sublattices(group.rotations, prime):
            found |= {_type(below, basis) for below in _groups_over(group, functionals, prime)}
    return sorted(found - {number})


def _primitive_operations(number: int) -> Operations:
    rotations, translations, primitive = group_operations(number)
    inverse = np.linalg.inv(primitive)
    turns = np.rint(inverse.T @ rotations @ primitive.T).astype(int)
    # Any metric, made invariant: no lattice is more symmetric by chance.
    root = np.random.default_rng(number).uniform(-0.3, 0.3, (3, 3)) + np.eye(3)
    metric = (turns.transpose(0, 2, 1) @ (root @ root.T) @ turns).mean(0)
    return Operations(turns, translations @ inverse, metric)


def _part(group: Operations, members: np.ndarray) -> Operations:
    return Operations(group.rotations[members], group.translations[members], group.metric)


def _type(group: Operations, basis: np.ndarray) -> int:
    """Returns the type of the group with the lattice that the rows of `basis` span."""
    root = np.linalg.cholesky(group.metric)
    lattice = spglib.delaunay_reduce(10.0 * basis @ root)
    change = np.rint(lattice @ np.linalg.inv(10.0 * root))
    inverse = np.linalg.inv(change)
    rotations = inverse.T @ group.rotations @ change.T
    assert np.allclose(rotations, np.rint(rotations)), "the lattice is not invariant"
    found = spglib.get_spacegroup_type_from_symmetry(
        np.rint(rotations).astype(int), group.translations @ inverse % 1.0, lattice
    )
    assert found is not None
    return int(found.number)


def _product_table(rotations: np.ndarray) -> np.ndarray:
    products = np.einsum("gij,hjk->ghik", rotations, rotations)
    return (products[:, :, None] == rotations).all((-1, -2)).argmax(-1)


def _closure(members: frozenset[int], table: np.ndarray) -> frozenset[int]:
    while True:
        index = sorted(members)
        grown = frozenset(table[np.ix_(index, index)].ravel().tolist())
        if grown == members:
            return members
        members = grown


def _maximal_parts(rotations: np.ndarray) -> list[np.ndarray]:
    """Returns the members of each maximal subgroup of the point group."""
    table = _product_table(rotations)
    whole = frozenset(range(len(rotations)))
    found = {frozenset([0])} - {whole}
    waiting = list(found)
    while waiting:
        members = waiting.pop()
        larger = {_closure(members | {op}, table) for op in whole - members} - found - {whole}
        found |= larger
        waiting += larger
    return [np.array(sorted(part)) for part in found if not any(part < other for other in found)]


def _sublattices(rotations: np.ndarray, prime: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields each largest invariant lattice between T and `prime` T.

    It comes as the functionals [dimension, 3] whose zeros modulo `prime` it is, and as its
    basis [3, 3], rows.
    """
    vectors = np.array(list(product(range(prime), repeat=3)))[1:]
    directions = vectors[[v[np.flatnonzero(v)[0]] == 1 for v in vectors]]

    def kept_by(turns: np.ndarray) -> list[np.ndarray]:
        images = directions @ turns.transpose(0, 2, 1) % prime
        turned = (np.cross(directions, images) % prime).any((0, 2))
        return list(directions[~turned])

    planes = kept_by(rotations.transpose(0, 2, 1))
    lines = kept_by(rotations)
    lines = [v for v in lines if not any(f @ v % prime == 0 for f in planes)]
    for functional in planes:
        pivot = int(np.flatnonzero(functional)[0])
        basis = np.eye(3, dtype=int)
        basis[:, pivot] -= functional
        basis[pivot] = prime * np.eye(3, dtype=int)[pivot]
        yield functional[None], basis
    for vector in lines:
        pivot = int(np.flatnonzero(vector)[0])
        functionals = np.eye(3, dtype=int)
        functionals[:, pivot] -= vector
        basis = prime * np.eye(3, dtype=int)
        basis[pivot] = vector
        yield np.delete(functionals, pivot, 0), basis
    if not planes and not lines:
        yield np.eye(3, dtype=int), prime * np.eye(3, dtype=int)


def _groups_over(group: Operations, functionals: np.ndarray, prime: int) -> Iterator[Operations]:
    """Yields the groups whose operations are those of `group`, moved, with the lattice of `functionals`."""
    rotations, translations, _ = group
    table = _product_table(rotations)
    # g∘h is the table's operation up to this lattice vector.
    carry = translations[:, None] + np.einsum("gij,hj->ghi", rotations, translations) - translations[table]
    assert np.allclose(carry, np.rint(carry))
    carry = np.rint(carry).astype(int)
    if prime > 3:
        moves = [-pow(len(rotations), -1, prime) * carry.sum(1)]
    else:
        moves = _closing_moves(rotations, table, carry, functionals, prime)
    for move in moves:
        rest = move[:, None] + np.einsum("gij,hj->ghi", rotations, move) + carry - move[table]
        assert not (rest @ functionals.T % prime).any(), "the operations do not close"
        yield Operations(rotations, translations + move, group.metric)


def _closing_moves(
    rotations: np.ndarray, table: np.ndarray, carry: np.ndarray, functionals: np.ndarray, prime: int
) -> list[np.ndarray]:
    """Returns the moves [num_ops, 3] of the operations that close modulo the lattice."""
    generators = _generators(table)
    # Representatives of T / T(H): one lattice vector for each value of the functionals.
    vectors = np.array(list(product(range(prime), repeat=3)))
    classes = vectors[np.unique(vectors @ functionals.T % prime, axis=0, return_index=True)[1]]
    chosen = np.array(list(product(range(len(classes)), repeat=len(generators))), int)
    moves = np.zeros((len(chosen), len(rotations), 3), int)
    known = [0]
    for op in known:
        for column, generator in enumerate(generators):
            if table[op, generator] not in known:
                step = classes[chosen[:, column]] @ rotations[op].T
                moves[:, table[op, generator]] = moves[:, op] + step + carry[op, generator]
                known.append(table[op, generator])
    closes = np.ones(len(chosen), bool)
    for column, generator in enumerate(generators):
        step = classes[chosen[:, column]] @ rotations.transpose(0, 2, 1)
        step = step.transpose(1, 0, 2)
        rest = (moves + step + carry[:, generator] - moves[:, table[:, generator]]) @ functionals.T
        closes &= ~(rest % prime).any((1, 2))
    return list(moves[closes])


def _generators(table: np.ndarray) -> list[int]:
    members, generators = frozenset([0]), []
    while len(members) < len(table):
        best = max(range(len(table)), key=lambda op: len(_closure(members | {op}, table)))
        generators.append(best)
        members = _closure(members | {best}, table)
    return generators


def main() -> None:
    """Derives all groups and writes the file, one line a group."""
    lines = [f'"{n}": {json.dumps(maximal_subgroups(n))}' for n in range(1, 231)]
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
