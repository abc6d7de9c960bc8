"""Converts element symbols to atomic numbers and back."""

import difflib

from jaxcrystal.errors import RequestError
from jaxcrystal.limits import shown

_SYMBOLS = (
    "- H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr "
    "Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb "
    "Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf "
    "Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og"
)


#: Element symbols by atomic number; slot 0 is padding.
SYMBOLS = tuple(_SYMBOLS.split())


def atomic_number(symbol: str) -> int:
    """Returns the atomic number of an element symbol.

    Raises:
      RequestError: no such element.
    """
    if symbol in SYMBOLS[1:]:
        return SYMBOLS.index(symbol)
    like = difflib.get_close_matches(str(symbol)[:4].capitalize(), SYMBOLS[1:], n=1, cutoff=0.5)
    hint = f" (did you mean {like[0]}?)" if like else ""
    raise RequestError(f"unknown element {shown(symbol)}{hint}: expected a symbol such as Ba")
