"""Text of files whatever their compression and encoding, and numbers as people write them."""

import bz2
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from jaxcrystal.errors import DataError
from jaxcrystal.files import most_unpacked, require_regular

#: Opens a compressed file, by the end of its name.
COMPRESSED: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
#: What reading a damaged text raises, compressed or not, or one that is too large.
TEXT_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError, DataError)
#: Dashes of word processors are minus signs; their blanks are blanks.
_TYPED = str.maketrans(
    dict.fromkeys("‐‑‒–—−﹣－", "-") | dict.fromkeys("\u00a0\u2007\u2009\u202f\ufeff", " ")
)
_NUMBER = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))([eEdD][+-]?[0-9]+)?(?:\([0-9]*\)?)?")
_BYTE_ORDER_MARKS = ((b"\xff\xfe\x00\x00", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


def open_text(path: Path) -> TextIOWrapper:
    """Opens a text file, compressed or not; bytes that are no UTF-8 are kept for `clean`.

    Raises:
      DataError: it is a device or a pipe; without its name.
    """
    require_regular(path)
    file = unpacked(path.open("rb"), path.suffix, path.stat().st_size)
    try:
        return as_text(file)
    except BaseException:
        file.close()
        raise


def unpacked(file: io.BufferedIOBase, suffix: str, size: int) -> io.BufferedIOBase:
    """Returns a file as it was before it was compressed; reading refuses what becomes too large.

    Args:
      file: of bytes.
      suffix: of its name; those of `COMPRESSED` are known.
      size: its bytes.
    """
    opened = COMPRESSED.get(suffix.lower())
    return io.BufferedReader(_Unpacked(file, opened(file, "rb"), size)) if opened else file


class _Unpacked(io.RawIOBase):
    """What a compressed file holds: of a few thousand bytes, it may be more than a machine does."""

    def __init__(self, packed: io.BufferedIOBase, content: Any, size: int) -> None:
        self._packed, self._content, self._size = packed, content, size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._content.seek(offset, whence))

    def readinto(self, buffer: Any) -> int:
        found = int(self._content.readinto(buffer))
        most = most_unpacked(self._size)
        if self._content.tell() > most:
            raise DataError(
                f"its {self._size} bytes become more than {most} when unpacked, which no structures do; "
                "if they are some, unpack it first"
            )
        return found

    def close(self) -> None:
        if not self.closed:
            self._content.close()
            self._packed.close()
        super().close()


def as_text(file: Any) -> TextIOWrapper:
    """Returns a file of bytes as one of text; UTF-16 and UTF-32 are known by their first bytes."""
    start = file.read(4)
    file.seek(0)
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if start.startswith(mark)), "utf-8-sig")
    errors = "surrogateescape" if encoding == "utf-8-sig" else "replace"
    return TextIOWrapper(file, encoding=encoding, errors=errors, newline="")


def clean(text: str) -> str:
    """Returns a text with ASCII minus signs and blanks, and lines that end in a newline only.

    Bytes that were no UTF-8 are taken for Windows' code page 1252; NUL bytes, with which
    some programs fill their files up, are dropped.
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\x00" in text:
        text = text.replace("\x00", "")
    return text if text.isascii() else readable(text).translate(_TYPED)


def readable(text: str) -> str:
    """Returns a text in which bytes that were no UTF-8 are characters of code page 1252."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape").decode("cp1252", "replace")
    return text


def number(text: str, what: str) -> float:
    """Returns a number such as `0.1234(5)`, without its uncertainty.

    Args:
      text: in ASCII.
      what: is read, for the message.

    Raises:
      DataError: it is no number.
    """
    match = _NUMBER.fullmatch(text)
    if not match:
        raise DataError(f"{what} is {text!r}, which is no number")
    digits, exponent = match.groups()
    return float(digits + (exponent or "").lower().replace("d", "e"))


def last_digit(text: str) -> float:
    """Returns the worth of the last decimal of a number that `number` reads, 0.001 for `0.3330`.

    Zeros at the end do not count, since programs add them to numbers of fewer digits.
    """
    match = _NUMBER.fullmatch(text)
    decimals = match.group(1).partition(".")[2].rstrip("0") if match else ""
    return 10.0 ** -len(decimals)
