"""Shares crystals among assignments of Wyckoff letters round by round, so that none are drawn in vain.

An assignment is an order whose letters are given, or whose sites are free. A request for formulas,
chemical systems or numbers of sites becomes all assignments that it can lead to, each with a weight:
how many crystals it would get if nothing were known of those drawn before.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxcrystal.errors import RequestError
from jaxcrystal.letters.frequencies import Assignment, LetterFrequencies
from jaxcrystal.limits import COUNT, MOST_ASSIGNMENTS
from jaxcrystal.requests.formula_plan import FormulaPlan
from jaxcrystal.requests.formulas import ANY_GROUP, plan_formula, spread
from jaxcrystal.requests.orders import Order
from jaxcrystal.requests.requests import Request, make_plan, space_groups
from jaxcrystal.symmetry.groups import hermann_mauguin
from jaxcrystal.text import csv_text

#: Crystals of an assignment in the first round, at most; in each round after it may have twice as many.
FIRST = 4
#: Crystals one after the other that must be equal to others, or no crystals, for an assignment to be spent.
PATIENCE = 3
#: Times that letters are drawn of which the data says nothing, at most.
_DRAWS = 1000
#: Rounds that the crystals asked for are shared among, at least.
_ROUNDS = 4


@dataclass(frozen=True, eq=False)
class Pool:
    """All assignments of some requests.

    Attributes:
      orders: all different, with letters that are given or with free sites; the heaviest first.
      weights: [n] crystals of each, as far as its weight says; positive.
      crystals: that were asked for, in all.
    """

    orders: tuple[Order, ...]
    weights: Float[np.ndarray, " n"]
    crystals: int

    @property
    def elements(self) -> frozenset[int]:
        """Atomic numbers of all orders."""
        return frozenset(z for order in self.orders for z in order.elements)

    def describe(self) -> str:
        """Returns a line."""
        groups = len({order.space_group for order in self.orders})
        return f"{len(self.orders):,} assignments of letters in {groups} space group{'s' * (groups > 1)}"

    def csv(self) -> str:
        """Returns a row each: group, sites or letters, share of all crystals."""
        head = ("group", "symbol", "sites", "weight")
        rows = (
            (order.space_group, hermann_mauguin(order.space_group), order.text.split()[1], f"{weight:.6g}")
            for order, weight in zip(self.orders, self.weights.tolist(), strict=True)
        )
        return csv_text([head, *rows])


def make_pool(requests: Sequence[Request], frequencies: LetterFrequencies, seed: int = 0) -> Pool:
    """Returns the assignments of some requests.

    Args:
      requests: at least one.
      frequencies: of the model's training data.
      seed: of what is drawn.

    Raises:
      RequestError, DataError: see `requests.make_plan`; also for `at_most`, since rounds go by what is new.
    """
    weights: Counter[Order] = Counter()
    crystals = 0
    for request in requests:
        if request.at_most is not None:
            raise RequestError(
                "at_most does not go with rounds: an assignment gets no more crystals once they are not new"
            )
        plan = make_plan([request], frequencies, seed)
        crystals += sum(plan.counts)
        if request.formula is not None:
            weights.update(_of_formula(request, frequencies))
            continue
        for order, count in zip(plan.orders, plan.counts, strict=True):
            weights.update(_of_order(order, count, frequencies, seed))
    orders = sorted(weights, key=lambda order: (-weights[order], order.text))
    return Pool(tuple(orders), np.array([weights[order] for order in orders], float), crystals)


def _of_order(order: Order, count: int, frequencies: LetterFrequencies, seed: int) -> dict[Order, float]:
    """Returns the assignments of an order with the crystals of each, `count` in all."""
    if not order.draws_letters:
        return {order: float(count)}
    what = order.space_group, order.counts, order.elements
    chances: Mapping[Assignment, float] = frequencies.chances(*what)
    if chances and order.mode == "nearest":
        chances = dict.fromkeys(filter(None, [frequencies.nearest(*what)]), 1.0)
    if not chances:  # the data has no such structure, and letters are drawn site by site
        rng = np.random.default_rng([seed, order.hash])
        draws = min(count, _DRAWS)
        drawn = Counter(
            frequencies.draw(rng, order.space_group, order.counts, order.elements) for _ in range(draws)
        )
        chances = {assignment: number / draws for assignment, number in drawn.items()}
    found: Counter[Order] = Counter()
    for assignment, chance in chances.items():
        letters = tuple(tuple(sorted(of_element)) for of_element in assignment)
        found[replace(order, mode="given", letters=letters)] += count * chance  # type: ignore[assignment]
    return dict(found)


def _of_formula(request: Request, frequencies: LetterFrequencies) -> dict[Order, float]:
    """Returns the heaviest assignments of a formula, as many as there are crystals, with those of each."""
    groups = ANY_GROUP if request.space_group is None else space_groups(request.space_group, frequencies)

    def planned(count: int, at_most: int | None) -> FormulaPlan:
        return plan_formula(
            *(str(request.formula), groups, count, frequencies),
            formula_units=request.formula_units,
            max_sites=request.max_sites,
            max_atoms=request.max_atoms,
            at_most=at_most,
            nearest=request.letters == "nearest",
        )

    plan = planned(request.count, None)
    most = min(request.count, plan.number, MOST_ASSIGNMENTS)
    if len(plan.rows) < most and request.letters != "nearest":
        plan = planned(most, 1)
    total = sum(row.weight for row in plan.rows)
    return {row.order: request.count * row.weight / total for row in plan.rows}


def next_round(
    pool: Pool,
    drawn: Int[np.ndarray, " n"],
    spent: Bool[np.ndarray, " n"],
    step: int,
    at_most: int,
) -> Int[np.ndarray, " n"]:
    """Returns how many crystals of each assignment come next.

    So that all that were drawn are in proportion to the weights, as far as the assignments are not
    spent: what these leave goes to the others.

    Args:
      pool: of the assignments.
      drawn: crystals of each so far.
      spent: those that get no more.
      step: crystals of the round, at most.
      at_most: crystals of an assignment, those drawn before included.
    Returns:
      New crystals of each; none at all where all are spent or have `at_most`.
    """
    counts = np.zeros(len(drawn), int)
    live = np.flatnonzero(~spent)
    wanted = min(int(drawn[live].sum()) + step, at_most * len(live))
    if wanted <= 0:
        return counts
    more = np.maximum(spread(pool.weights[live], wanted, at_most) - drawn[live], 0)
    # Shares need not grow with what is shared: none may make the round larger than it is.
    counts[live] = np.clip(step - (np.cumsum(more) - more), 0, more)
    return counts


def steps(pool: Pool, unique: int | None, drawn: int, different: int) -> int:
    """Returns how many crystals the next round may have; 0: enough were drawn.

    Args:
      pool: of the assignments.
      unique: different crystals that are wanted; None: as many as those asked for lead to.
      drawn: crystals so far.
      different: of those.
    """
    if unique is None:
        return min(-(-pool.crystals // _ROUNDS), pool.crystals - drawn)
    missing = max(0, unique - different)
    # As many as will do if new ones come as often as until now.
    return min(-(-missing * max(drawn, 1) // max(different, 1)), 4 * missing, int(COUNT.high) - drawn)
