"""One test of all 230 space groups."""

from collections.abc import Callable

GROUPS = range(1, 231)


def each_group(check: Callable[[int], None]) -> Callable[[], None]:
    """Makes one test of a check of one group: it goes on after a failure, and names all groups that fail.

    Hundreds of tests take longer to list and report than to run.
    """

    def test() -> None:
        failures: dict[int, Exception] = {}
        for number in GROUPS:
            try:
                check(number)
            except Exception as error:
                failures[number] = error
        if failures:
            first = min(failures)
            message = f"groups {', '.join(map(str, failures))} fail; of group {first}: {failures[first]!r}"
            raise AssertionError(message) from failures[first]

    test.__name__, test.__qualname__ = check.__name__, check.__qualname__
    test.__doc__, test.__module__ = check.__doc__, check.__module__
    return test
