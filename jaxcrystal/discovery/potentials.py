"""The potentials that crystals can be relaxed with: ASE calculators by name.

Energies of different potentials, or with and without corrections, do not go on one hull: `Energies`
says of which kind some are.
"""

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxcrystal.errors import JaxcrystalError, RequestError, one_line

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

DEFAULT = "7net-0"
#: eV per atom: below and above are no energies of crystals by PBE, with the pseudopotentials of the
#: Materials Project, nor by potentials that were fitted to such; tungsten has -13, solid neon 0.
_PBE_ENERGIES = (-20.0, 5.0)


class Energies(NamedTuple):
    """Of which kind some energies are: only equal ones may stand on one hull.

    Attributes:
      potential: name; of energies of others, what the user calls their source, such as `PBE`.
      correction: added to them, such as `MP2020`; `none`.
    """

    potential: str
    correction: str = "none"

    def __str__(self) -> str:
        corrected = "without corrections" if self.correction == "none" else f"with {self.correction}"
        return f"{self.potential} ({corrected})"


@dataclass(frozen=True)
class Potential:
    """One potential.

    Attributes:
      name: as users write it.
      module: that the calculator comes from.
      make: returns an ASE calculator; imports what it needs.
      install: what to install where the module is missing.
      correction: that its energies contain.
      energies: eV per atom; a crystal that is outside has been led astray.
    """

    name: str
    module: str
    make: Callable[[], "Calculator"]
    install: str
    correction: str = "none"
    energies: tuple[float, float] = (-float("inf"), float("inf"))

    @property
    def version(self) -> str:
        """Version of the package that it comes from; empty if it is of none."""
        packages = metadata.packages_distributions().get(self.module.split(".")[0], [""])
        try:
            return f"{packages[0]} {metadata.version(packages[0])}"
        except (metadata.PackageNotFoundError, ValueError):
            return ""

    @property
    def kind(self) -> Energies:
        """Of which kind its energies are."""
        return Energies(self.name, self.correction)


def find_potential(name: str) -> Potential:
    """Returns the potential of a name, or of `module:factory`, whose function returns an ASE calculator.

    Raises:
      RequestError: the name is not known, or there is no such function.
      JaxcrystalError: what it needs is not installed.
    """
    if ":" in name:
        return _of_module(name)
    if name not in POTENTIALS:
        raise RequestError(
            f"unknown potential {name!r}: expected one of {', '.join(POTENTIALS)}, or module:factory, a "
            "function that returns an ASE calculator"
        )
    potential = POTENTIALS[name]
    if importlib.util.find_spec(potential.module.split(".")[0]) is None:
        raise JaxcrystalError(f"the potential {name} is not installed: {potential.install}")
    return potential


@lru_cache(maxsize=1)
def calculator(name: str) -> "Calculator":
    """Returns the calculator of a potential, the same one each time: it may take seconds to load.

    It uses one thread: several on busy cores take many times as long, and crystals are shared
    among processes.

    Raises:
      JaxcrystalError: see `find_potential`; or it cannot be loaded.
    """
    potential = find_potential(name)
    try:
        made = potential.make()
    except ImportError as error:
        raise JaxcrystalError(
            f"the potential {name} cannot be imported ({one_line(error)}): {potential.install}"
        ) from error
    except JaxcrystalError:
        raise
    except Exception as error:  # weights that cannot be downloaded, a device that is not there
        raise JaxcrystalError(f"the potential {name} cannot be loaded: {one_line(error)}") from error
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    return made


def _of_module(name: str) -> Potential:
    module, _, factory = name.partition(":")
    try:
        make = getattr(import_module(module), factory)
    except (ImportError, AttributeError, ValueError, TypeError) as error:  # TypeError: it begins with a dot
        raise RequestError(f"the potential {name!r} cannot be imported: {one_line(error)}") from error
    if not callable(make):
        raise RequestError(f"the potential {name!r} is no function that returns an ASE calculator")
    return Potential(name, module, make, "")


def _emt() -> Any:
    from ase.calculators.emt import EMT

    return EMT()


def _sevennet(model: str) -> Callable[[], Any]:
    def make() -> Any:
        from sevenn.calculator import SevenNetCalculator

        return SevenNetCalculator(model)

    return make


def _chgnet() -> Any:
    from chgnet.model.dynamics import CHGNetCalculator

    return CHGNetCalculator()


def _mace() -> Any:
    from mace.calculators import mace_mp

    return mace_mp(default_dtype="float64")


def _orb() -> Any:
    from orb_models.forcefield import pretrained
    from orb_models.forcefield.calculator import ORBCalculator

    loaded = pretrained.orb_v3_conservative_inf_mpa(precision="float32-highest")
    # Newer releases return what makes graphs of atoms beside the network.
    return ORBCalculator(*(loaded if isinstance(loaded, tuple) else (loaded,)))


def _mattersim() -> Any:
    from mattersim.forcefield import MatterSimCalculator

    return MatterSimCalculator(load_path="MatterSim-v1.0.0-5M.pth")


def _nequix() -> Any:
    from nequix.calculator import NequixCalculator

    return NequixCalculator("nequix-mp-1")


_EXTRA = "pip install 'jaxcrystal[relax]'"
#: By name. Those of the extra have their weights in their wheels; the others download them.
POTENTIALS = {
    potential.name: potential
    for potential in (
        Potential("7net-0", "sevenn", _sevennet("7net-0"), _EXTRA, energies=_PBE_ENERGIES),
        Potential("7net-l3i5", "sevenn", _sevennet("7net-l3i5"), _EXTRA, energies=_PBE_ENERGIES),
        Potential("chgnet", "chgnet", _chgnet, "pip install chgnet", "MP2020", _PBE_ENERGIES),
        Potential("mace", "mace", _mace, "pip install mace-torch", energies=_PBE_ENERGIES),
        Potential("orb", "orb_models", _orb, "pip install orb-models", energies=_PBE_ENERGIES),
        Potential("mattersim", "mattersim", _mattersim, "pip install mattersim", energies=_PBE_ENERGIES),
        Potential("nequix", "nequix", _nequix, "pip install nequix", energies=_PBE_ENERGIES),
        # Of Al, Cu, Ag, Au, Ni, Pd and Pt; 0 is each metal as it crystallises.
        Potential("emt", "ase.calculators.emt", _emt, "pip install ase", energies=(-2.0, 5.0)),
    )
}
