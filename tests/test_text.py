"""Tables and JSON values."""

import csv
import io
import json

import numpy as np

from jaxcrystal.text import aligned, cell_text, counted, csv_text, json_ready


def test_columns_are_as_wide_as_their_longest_word_and_lines_end_with_a_word() -> None:
    rows = [("id", "formula", "Å"), ("1", "BaTiO3", "4.01"), ("12", "Cu", "")]
    assert aligned(rows, left=(1,)) == ["id  formula     Å", " 1  BaTiO3   4.01", "12  Cu"]


def test_things_are_counted_in_words() -> None:
    assert [counted(number, "crystal") for number in (0, 1, 1200)] == [
        *("0 crystals", "1 crystal", "1,200 crystals")
    ]


def test_json_has_no_nan_and_no_numpy() -> None:
    value = {
        "a": [np.float32(0.5), float("nan")],
        "b": (np.int64(3), np.inf),
        "c": {"d": np.bool_(True), "e": "x"},
    }
    ready = json_ready(value)
    assert ready == {"a": [0.5, None], "b": [3, None], "c": {"d": True, "e": "x"}}
    assert json.loads(json.dumps(ready, allow_nan=False)) == ready


def test_a_spreadsheet_sees_no_formula_in_a_text_and_numbers_stay_numbers() -> None:
    cells = ["=1+1", "@SUM(A1)", "-x.cif", "+cmd", "\tx", "-1.5", "+2e3", "a=b", "'x", -1.5, None, True]
    text = csv_text([cells])
    (read,) = csv.reader(io.StringIO(text, newline=""))
    expected = ["'=1+1", "'@SUM(A1)", "'-x.cif", "'+cmd", "'\tx", "-1.5", "+2e3", "a=b", "'x", "-1.5"]
    assert read == [*expected, "", "True"]
    assert [cell_text(cell) for cell in read] == [*cells[:-3], "-1.5", "", "True"]
    assert csv_text([read]) == text  # what is read and written again
