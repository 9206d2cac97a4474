"""Tables for notebooks."""

from __future__ import annotations

from adaptune.core.html import html_table


def test_cells_are_text_whatever_signs_they_hold() -> None:
    assert html_table(["a<b", ""], [["<script>", 0.123456], [True, 12]]) == (
        "<table><thead><tr><th>a&lt;b</th><th></th></tr></thead><tbody>"
        "<tr><td>&lt;script&gt;</td><td>0.1235</td></tr><tr><td>True</td><td>12</td></tr></tbody></table>"
    )
