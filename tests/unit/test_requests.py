"""The CSV of requested tumours: what it may hold, and the sentence for what it may not."""

import numpy as np
import pytest

from workflow_scripts.base.errors import UserError
from workflow_scripts.diffusion.conditions import ConditionTable
from workflow_scripts.diffusion.requests import read_requests

NAMES = (
    "volume_ml",
    "centroid_x_mm",
    "box_width_mm",
    "box_height_mm",
    "box_depth_mm",
    "tumor_core_fraction",
    "enhancing_tumor_fraction",
)
TABLE = ConditionTable(NAMES, np.array([[5, -40, 20, 20, 20, 0.1, 0.0], [100, 40, 80, 90, 70, 0.9, 0.8]]))


@pytest.fixture
def read(tmp_path):
    def function(text, **options):
        path = tmp_path / "tumours.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return [row.conditions for row in read_requests(path, TABLE, **options)]

    return function


def test_any_subset_of_the_columns_in_any_order(read):
    rows = read("centroid_x_mm,volume_ml\n-12.5,30\n10,60\n")
    assert rows == [{"centroid_x_mm": -12.5, "volume_ml": 30.0}, {"centroid_x_mm": 10.0, "volume_ml": 60.0}]


def test_an_empty_cell_is_left_to_be_drawn(read):
    assert read("volume_ml,tumor_core_fraction\n30,\n,0.5\n") == [{"volume_ml": 30.0}, {"tumor_core_fraction": 0.5}]


def test_spaces_blank_lines_and_a_spreadsheets_byte_order_mark_do_no_harm(read):
    text = "\ufeffvolume_ml , tumor_core_fraction\r\n 30 , 0.5 \r\n\r\n40,0.6\r\n"
    assert [row["volume_ml"] for row in read(text)] == [30.0, 40.0]


def test_the_limits_of_the_training_range_are_inside_it(read):
    assert len(read("volume_ml\n5\n100\n")) == 2


def test_extrapolation_must_be_asked_for(read):
    with pytest.raises(UserError, match=r"row 3, column volume_ml: 150 is outside.* 5 to 100;.*--allow-extrapolation"):
        read("volume_ml\n50\n150\n")
    assert read("volume_ml\n150\n", allow_extrapolation=True) == [{"volume_ml": 150.0}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("volume\n30\n", r"unknown column 'volume'; did you mean volume_ml\?.*knows: volume_ml, centroid_x_mm"),
        ("volume_ml;tumor_core_fraction\n30;0.5\n", "separated by commas"),
        ("volume_ml,volume_ml\n30,40\n", "column volume_ml is there 2 times"),
        ("volume_ml\nbig\n", r"row 2, column volume_ml: 'big' is not a number"),
        ("volume_ml\n30 ml\n", r"row 2, column volume_ml: '30 ml' is not a number"),
        ("volume_ml\nnan\n", "row 2, column volume_ml: nan is not a finite number"),
        ("volume_ml\ninf\n", "inf is not a finite number"),
        ("volume_ml,tumor_core_fraction\n30\n", "row 2: 1 cells under 2 columns"),
        ("volume_ml,tumor_core_fraction\n30,0.5,1\n", "row 2: 3 cells under 2 columns"),
        (
            "tumor_core_fraction,enhancing_tumor_fraction\n0.3,0.5\n",
            "row 2: enhancing_tumor_fraction 0.5 is larger than tumor_core_fraction 0.3",
        ),
        ("volume_ml,box_width_mm,box_height_mm,box_depth_mm\n90,20,20,20\n", "90 does not fit into its box.* 8 ml"),
        ("", "requests nothing"),
        ("volume_ml\n", "requests nothing"),
        (b"volume_ml\n\xff\xfe\n", "no CSV file in UTF-8"),
    ],
)
def test_a_fault_is_named_with_its_row_and_column(read, text, message):
    with pytest.raises(UserError, match=message):
        read(text)


@pytest.mark.parametrize(
    ("column", "cell"),
    [("volume_ml", "-3"), ("volume_ml", "0"), ("tumor_core_fraction", "1.2"), ("enhancing_tumor_fraction", "-0.1")],
)
def test_the_impossible_stays_impossible_with_extrapolation(read, column, cell):
    with pytest.raises(UserError, match=f"row 2, column {column}: {cell} is impossible"):
        read(f"{column}\n{cell}\n", allow_extrapolation=True)


def test_all_faults_are_listed_at_once_up_to_a_handful(read):
    with pytest.raises(UserError) as caught:
        read("volume_ml\n" + "big\n" * 12)
    assert str(caught.value).count("is not a number") == 8
    assert "and 4 more" in str(caught.value)


def test_a_row_may_name_its_host(tmp_path):
    (tmp_path / "tumours.csv").write_text("host,volume_ml\n head-2 ,30\n,40\n")
    rows = read_requests(tmp_path / "tumours.csv", TABLE, hosts=["head-1", "head-2"])
    assert [(row.host, row.conditions) for row in rows] == [("head-2", {"volume_ml": 30}), (None, {"volume_ml": 40})]


@pytest.mark.parametrize(
    ("hosts", "message"),
    [
        (["head-1", "head-2"], r"row 3, column host: 'haed-2' is no case of the train subset; did you mean head-2\?"),
        ([f"A{n}" for n in range(5)], r"row 2, column host: 'head-1' is no case.*; it has A0, A1, A2, \.\.\."),
        (None, "column host: this model makes whole patients"),
    ],
)
def test_a_host_that_cannot_be_is_named(read, hosts, message):
    with pytest.raises(UserError, match=message):
        read("host,volume_ml\nhead-1,30\nhaed-2,30\n", hosts=hosts)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.csv cannot be read"):
        read_requests(tmp_path / "none.csv", TABLE)
