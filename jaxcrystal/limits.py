"""Bounds of what a user may set: the ranges of numbers, and what a name of a file must be.

A setting of a configuration carries its bounds in its type, `Annotated[int, Within(1, 230)]`
(`config.Checked` holds them), an option of the command line as `bounds=` (`commands.parser.Bounded`). A
bound stands here where both need it, or where it says what a machine can hold.
"""

import re
from datetime import date, time
from reprlib import Repr
from typing import Any, NamedTuple, TypeAlias

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60


def shown(value: Any) -> str:
    """Returns a value as errors show it: in a few words however large it is."""
    if isinstance(value, date | time):
        return value.isoformat()
    try:
        return _SHORT.repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "a number of thousands of digits"


class Within(NamedTuple):
    """The range of a number.

    Attributes:
      low, high: ends of the range.
      above, below: the number must not be `low`, or not `high`.
    """

    low: float
    high: float
    above: bool = False
    below: bool = False

    def refusal(self, value: Any) -> str | None:
        """Returns what is wrong with a number, or with one of several, such as `is 0; it must be above 0`."""
        if isinstance(value, tuple | list):
            return next(filter(None, map(self.refusal, value)), None)
        if not (value > self.low if self.above else value >= self.low):  # so that NaN is refused
            return f"is {shown(value)}; it must be {'above' if self.above else 'at least'} {self.low}"
        if not (value < self.high if self.below else value <= self.high):
            return f"is {shown(value)}; it must be {'below' if self.below else 'at most'} {self.high}"
        return None


class Named(NamedTuple):
    """A name of a file or folder, or a URL.

    Attributes:
      optional: it may be an empty text.
    """

    optional: bool = False

    def refusal(self, value: Any) -> str | None:
        """Returns what is wrong with a name, or with one of several, such as `is empty`."""
        if isinstance(value, tuple | list):
            return next(filter(None, map(self.refusal, value)), None)
        if not str(value).strip() and not self.optional:
            return "is empty"
        if "\0" in str(value):
            return f"is {shown(value)}: no name has the character NUL"
        # Those that stand for bytes which are no UTF-8, U+DC80 to U+DCFF, are in names of files.
        if re.search("[\ud800-\udc7f\udd00-\udfff]", str(value)):
            return f"is {shown(value)}: it is no valid Unicode (a lone surrogate)"
        return None


#: What bounds can be.
Bounds: TypeAlias = Within | Named

NAME = Named()
#: Keys of random numbers, numbers of structures and hashes of orders are 32 bits in the programs.
SEED = Within(0, 2**32 - 1)
COUNT = Within(1, 2**32 - 1)
SPACE_GROUP = Within(1, 230)
#: Inequivalent sites of a structure: what `crystal.BUCKETS` ends with.
SITES = Within(1, 20)
#: Atoms in a primitive cell: the sites of `SITES`, each on the 48 positions of the largest group.
ATOMS = Within(1, 960)
#: Atoms of an element in a formula.
FORMULA_ATOMS = Within(1, 10**6)
#: Different orders of a run.
MOST_ORDERS = 100_000
#: Assignments of letters that share the crystals of a formula.
MOST_ASSIGNMENTS = 20_000
#: Structures computed together on one device.
BATCH_SIZE = Within(1, 16_384)
#: Structures that are written together, which are held until the last of them is drawn.
PART_SIZE = Within(1, 1_000_000)
STEPS_PER_LEVEL = Within(1, 100_000)
#: Steps between two states that are kept, 0 for none.
TRAJECTORY = Within(0, 10**9)
BEST_OF = Within(1, 10_000)
#: ε_L over σ_L².
LATTICE_STEP = Within(0, 1000)
#: Of the lattice; 1 is the full spread.
TEMPERATURE = Within(0, 100)
#: Of files: the cell that a site is written in may be another than the first, but no site is this far away.
FRAC_COORD = Within(-1000, 1000)
PROCESSES = Within(1, 1024)
WORKERS = Within(0, 1024)
