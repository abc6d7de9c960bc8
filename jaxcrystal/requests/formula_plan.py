"""Plans a formula: which assignments are sampled how often, and the table that shows it."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxcrystal.requests.orders import Order
from jaxcrystal.symmetry.groups import hermann_mauguin
from jaxcrystal.text import aligned, counted


@dataclass(frozen=True)
class PlannedOrder:
    """One assignment of a plan.

    Attributes:
      order: group, elements and letters.
      count: structures to be sampled.
      units: formula units in the primitive cell.
      atoms: in the primitive cell.
      free: coordinates that are free, less the directions in which the group leaves the origin free.
        With 0 only the lattice differs between structures.
      weight: in structures of the training data; see `requests.ranking`.
      share: of the weight of all assignments.
      seen: structures of the training data with this group and these letters.
    """

    order: Order
    count: int
    units: int
    atoms: int
    free: int
    weight: float
    share: float
    seen: int


@dataclass(frozen=True)
class FormulaPlan:
    """What is sampled for a formula.

    Attributes:
      formula: reduced.
      rows: assignments that get at least one structure, heaviest first.
      number: assignments in all, exactly.
      space_groups: groups that were looked at.
      units: numbers of formula units that were looked at.
      skipped_units: those left out, their cells having more than `max_atoms` atoms.
      max_atoms: in the primitive cell.
    """

    formula: str
    rows: tuple[PlannedOrder, ...]
    number: int
    space_groups: tuple[int, ...]
    units: tuple[int, ...]
    skipped_units: tuple[int, ...]
    max_atoms: int

    @property
    def orders(self) -> list[Order]:
        """The orders, as `sample_orders` takes them."""
        return [row.order for row in self.rows]

    @property
    def counts(self) -> list[int]:
        """Structures of each order."""
        return [row.count for row in self.rows]

    def describe(self, max_rows: int = 20) -> str:
        """Returns the first rows as a table, and lines about the rest and the whole."""
        head = ("group", "letters", "units", "atoms", "free", "seen", "share", "count")
        text = aligned([head, *(_line(row) for row in self.rows[:max_rows])], left=(0, 1))
        rest = self.rows[max_rows:]
        if rest:
            share = 100 * sum(row.share for row in rest)
            text.append(
                f"... and {counted(len(rest), 'assignment')} more: {share:.3g} %, "
                f"{counted(sum(row.count for row in rest), 'structure')}"
            )
        found = counted(self.number, "assignment")
        looked = f"{named_groups(self.space_groups)} with {formula_units(self.units)} in the primitive cell"
        planned = f"{counted(sum(self.counts), 'structure')} of {len(self.rows):,} of them"
        text += ["", f"{self.formula}: {found} in {looked}; {planned}"]
        if self.skipped_units:
            text.append(f"left out: {formula_units(self.skipped_units)}, more than {self.max_atoms} atoms")
        return "\n".join(text)


def formula_units(numbers: Sequence[int]) -> str:
    """Returns numbers of formula units in words, such as `1, 2 formula units`."""
    return ", ".join(map(str, numbers)) + (" formula unit" if tuple(numbers) == (1,) else " formula units")


def named_groups(groups: Sequence[int]) -> str:
    """Returns a few groups with their symbols, or how many there are."""
    if len(groups) > 4:
        return f"{len(groups)} space groups"
    named = ", ".join(f"{group} ({hermann_mauguin(group)})" for group in groups)
    return f"space group{'s' if len(groups) > 1 else ''} {named}"


def _line(row: PlannedOrder) -> tuple[str, ...]:
    group = row.order.space_group
    return (
        f"{group} {hermann_mauguin(group)}",
        row.order.wyckoff,
        str(row.units),
        str(row.atoms),
        str(row.free),
        str(row.seen),
        f"{100 * row.share:.3g} %",
        str(row.count),
    )
