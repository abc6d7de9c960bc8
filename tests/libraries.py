"""Corners of pymatgen that the tests pass through often, and that take long each time."""

from functools import cache

from pymatgen.symmetry.groups import SpaceGroup
from pymatgen.util import provenance


def hasten() -> None:
    """Keeps space groups, and takes the references of its prototypes for what they are.

    A group is forgotten with the last structure made of it, and Fm-3m takes half a second to make;
    to check that 288 references are BibTeX takes most of the time of reading the prototypes.
    """
    setattr(SpaceGroup, "__new__", staticmethod(cache(SpaceGroup.__new__)))  # noqa: B010
    setattr(provenance, "is_valid_bibtex", lambda reference: True)  # noqa: B010
