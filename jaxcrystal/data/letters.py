"""Counts the Wyckoff letters that the elements of a data set are on."""

from collections import defaultdict
from itertools import chain

from jaxcrystal.data.dataset import Dataset
from jaxcrystal.letters.frequencies import Assignment, LetterFrequencies
from jaxcrystal.symmetry.wyckoff import repeated_fixed, wyckoff_positions


def count_letters(dataset: Dataset) -> LetterFrequencies:
    """Returns how often each assignment of letters stands in a data set, and for which elements.

    Structures with two sites on one point, which damaged and older files may have, are left out.
    """
    found: dict[int, dict[tuple[int, ...], dict[Assignment, list[tuple[int, ...]]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for index in range(len(dataset)):
        group, sites = int(dataset.space_group[index]), dataset.sites(index)
        names = [p.letter for p in wyckoff_positions(group)]
        by_element: dict[int, list[str]] = defaultdict(list)
        for element, letter in zip(dataset.species[sites], dataset.letters[sites], strict=True):
            by_element[int(element)].append(names[letter])
        if repeated_fixed(group, chain.from_iterable(by_element.values())):
            continue
        ordered = sorted(
            ((tuple(sorted(letters)), element) for element, letters in by_element.items()),
            key=lambda pair: (len(pair[0]), *pair),
        )
        assignment = tuple(letters for letters, _ in ordered)
        counts = tuple(len(letters) for letters in assignment)
        found[group][counts][assignment].append(tuple(element for _, element in ordered))
    return LetterFrequencies.of_elements(found)
