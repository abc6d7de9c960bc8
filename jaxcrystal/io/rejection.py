"""Why a structure is refused; the one list of reasons."""

from enum import StrEnum

from jaxcrystal.errors import JaxcrystalError


class Reason(StrEnum):
    """One word a class of reason, as it stands in `rejected.csv`."""

    UNPARSABLE = "unparsable"
    EMPTY = "empty"
    DISORDERED = "disordered"
    UNKNOWN_ELEMENT = "unknown_element"
    #: What the file says of group, operations, cell, formula and atoms does not go together.
    CONTRADICTORY = "contradictory"
    #: It could be read in more than one way.
    AMBIGUOUS = "ambiguous"
    #: Atoms on one point.
    OVERLAPPING = "overlapping"
    NOT_PERIODIC = "not_periodic"
    SYMMETRY_FAILED = "symmetry_failed"
    TOO_MANY_SITES = "too_many_sites"
    NOT_REBUILT = "not_rebuilt"


class Rejected(JaxcrystalError):
    """A structure that cannot be used.

    Attributes:
      reason: the class.
      detail: what exactly, in one line.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)  # both, so that it survives pickling
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"
