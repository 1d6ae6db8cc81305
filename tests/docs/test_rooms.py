"""The picture of the rooms is that of the imports."""

from __future__ import annotations

from docs.rooms import TARGET, imports_of_rooms, picture, reduced


def test_the_picture_is_up_to_date() -> None:
    message = "run PYTHONPATH=src:. python docs/rooms.py"
    assert TARGET.read_text(encoding="utf-8") == picture(), message


def test_arrows_that_follow_from_others_are_left_out() -> None:
    assert reduced({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == {
        "a": {"b"},
        "b": {"c"},
        "c": set(),
    }
    arrows = imports_of_rooms()
    assert "errors" in arrows["cli"]
    assert "errors" not in reduced(arrows)["cli"]
