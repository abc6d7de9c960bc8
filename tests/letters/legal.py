"""What makes an assignment of letters possible."""

from collections import Counter

from jaxcrystal.symmetry.wyckoff import wyckoff_position


def is_legal(space_group, assignment) -> bool:
    """Whether no position without a free coordinate is used twice."""
    used = Counter(letter for letters in assignment for letter in letters)
    return all(n == 1 or wyckoff_position(space_group, letter).num_free > 0 for letter, n in used.items())
