"""The reader `catboost`: files without a header, and a description of their columns."""

from __future__ import annotations

from collections.abc import Iterator

from ml4ir_losses.core.errors import DataError, unknown_name
from ml4ir_losses.core.registry import register_reader
from ml4ir_losses.data.delimited import NA_VALUES, Delimited
from ml4ir_losses.data.files import beside, relative_to
from ml4ir_losses.data.readers.csv import Character, CharacterOrNone, NaValues
from ml4ir_losses.data.table import Table
from ml4ir_losses.data.text_files import open_text

ROLES = {
    "Label": "label",
    "Target": "label",
    "GroupId": "query_id",
    "QueryId": "query_id",
    "DocId": "document_id",
    "SampleId": "document_id",
    "Weight": "weight",
    "GroupWeight": "query_weight",
    "SubgroupId": "subgroup_id",
    "Baseline": "baseline",
    "Timestamp": "timestamp",
    "Auxiliary": "auxiliary",
}
"""The column of each type that is no feature."""

FEATURES = ("Num", "Categ", "Text", "NumVector")


@register_reader("catboost", endings=(".pool",), untyped=True)
def read_catboost(
    path: str,
    *,
    cd: str | None = None,
    delimiter: Character = "\t",
    quote: CharacterOrNone = '"',
    has_header: bool = False,
    na_values: NaValues = NA_VALUES,
) -> Iterator[Table]:
    """CatBoost's tab-separated files, whose columns a column description names.

    Label, GroupId, DocId, Weight and GroupWeight become the columns label, query_id, document_id, weight and
    query_weight. A feature without a name is `f<i>`, i counted over the features from 0, as CatBoost does.

    Args:
        path: the file.
        cd: the column description, lines of index, type and perhaps name between tabs; None: the `.cd` file beside.
        delimiter: the character between cells.
        quote: the character around cells that hold delimiters; "" for files without quoting.
        has_header: True if the first line holds the names of the columns.
        na_values: texts of missing cells, besides the empty cell.

    Raises:
        DataError: no column description, a malformed one, or what `csv` raises.
    """
    file = Delimited(path, delimiter, quote, has_header=has_header)
    first_row = next((cells for _, cells in file), [])
    described = _read_description(_description(path, cd), path, len(first_row))
    yield from file.chunks(_names(described, first_row, has_header), na_values)


def _description(path: str, cd: str | None) -> str:
    """The file of the column description."""
    found = beside(path, ".cd") if cd is None else relative_to(path, cd)
    if found is None:
        raise DataError(f"{path}: no column description. Write {path}.cd, or set data.options.cd: FILE.")
    return found


def _read_description(path: str, data: str, width: int) -> dict[int, tuple[str, str]]:
    """The type and the name of each column that a description lists; the name may be ""."""
    described: dict[int, tuple[str, str]] = {}
    types = {name.lower(): name for name in (*ROLES, *FEATURES)}
    with open_text(path) as stream:
        for number, line in enumerate(stream, 1):
            cells = line.decode("utf-8", "backslashreplace").rstrip("\r\n").split("\t")
            if not any(cells):
                continue
            if len(cells) < 2 or not cells[0].strip().isdecimal():
                raise DataError(f"{path}, line {number}: a line is '<index> TAB <type> TAB <name>', counted from 0.")
            kind = types.get(cells[1].strip().lower())
            if kind is None:
                known = (*ROLES, *FEATURES)
                raise DataError(f"{path}, line {number}: {unknown_name('column type', cells[1], known)}")
            if int(cells[0]) >= width:
                reason = f"column {cells[0]} is described; {data} has {width} columns, from 0"
                raise DataError(f"{path}, line {number}: {reason}.")
            described[int(cells[0])] = kind, "".join(cells[2:3]).strip()
    return described


def _names(described: dict[int, tuple[str, str]], first_row: list[str], has_header: bool) -> list[str]:
    """The names of the columns; those that the description leaves out are numeric features."""
    names: list[str] = []
    features = 0
    for index in range(len(first_row)):
        kind, name = described.get(index, ("Num", ""))
        if not name and has_header and kind in FEATURES:
            name = first_row[index]
        if kind not in ROLES:
            names.append(name or f"f{features}")
            features += 1
            continue
        name = name if kind == "Auxiliary" and name else ROLES[kind]
        names.append(name if name not in names else f"{name}_{index}")
    return names
