"""Draw which room of the package imports from which, as docs/images/rooms.svg.

    PYTHONPATH=src:. python docs/rooms.py

The imports are those that tests/test_imports.py checks. An arrow that follows from two others is
left out: if a imports b, and b imports c, there is none from a to c.
"""

from __future__ import annotations

from pathlib import Path

from tests.test_imports import FILES, FLOOR, SOURCE, imported_rooms, room_of

TARGET = Path(__file__).parent / "images" / "rooms.svg"

WIDTH, ROW, BOX, HEIGHT = 680, 64, 128, 30
"""Of the picture, from floor to floor, and of a box; in pixels."""

HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"
  font-family="sans-serif" font-size="14" text-anchor="middle">
<title>Which room imports from which</title>
<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7"
  orient="auto"><path d="M0 0 8 4 0 8z" fill="#888"/></marker></defs>
<rect width="{width}" height="{height}" fill="#fff"/>
"""


def imports_of_rooms() -> dict[str, set[str]]:
    """Return the rooms that each room imports from."""
    found: dict[str, set[str]] = {room: set() for room in FLOOR if room != "__main__"}
    for file in FILES:
        room = room_of(file)
        if room in found:
            found[room] |= imported_rooms(file) & found.keys() - {room}
    return found


def reduced(arrows: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return the arrows that do not follow from others."""

    def below(room: str) -> set[str]:
        return arrows[room].union(*(below(other) for other in arrows[room]))

    return {
        room: {to for to in direct if not any(to in below(other) for other in direct - {to})}
        for room, direct in arrows.items()
    }


def positions(rooms: list[str]) -> dict[str, tuple[float, float]]:
    """Return the middle of each room's box: its floor, and its place on the floor."""
    floors = sorted({FLOOR[room] for room in rooms}, reverse=True)
    places: dict[str, tuple[float, float]] = {}
    for number, floor in enumerate(floors):
        row = [room for room in rooms if FLOOR[room] == floor]
        for column, room in enumerate(row):
            x = WIDTH * (column + 0.5) / len(row)
            # An arrow past a room alone on its floor would run through its box.
            shift = 0 if len(row) > 1 else 70 * (-1) ** number
            places[room] = (x + shift, 30 + ROW * number)
    return places


def picture() -> str:
    """Return the picture as text."""
    arrows = reduced(imports_of_rooms())
    place = positions(list(arrows))
    lines = [HEAD.format(width=WIDTH, height=max(y for _, y in place.values()) + 30)]
    for room, others in arrows.items():
        x, y = place[room]
        for other in sorted(others):
            to_x, to_y = place[other]
            lines.append(
                f'<line x1="{x:g}" y1="{y + HEIGHT / 2:g}" x2="{to_x:g}" y2="{to_y - HEIGHT / 2:g}"'
                ' stroke="#888" marker-end="url(#tip)"/>\n'
            )
    for room, (x, y) in place.items():
        label = room + ("/" if (SOURCE / room).is_dir() else ".py")
        lines.append(
            f'<rect x="{x - BOX / 2:g}" y="{y - HEIGHT / 2:g}" width="{BOX}" height="{HEIGHT}" '
            'rx="5" fill="#eef4fa" stroke="#36648b"/>'
            f'<text x="{x:g}" y="{y + 5:g}">{label}</text>\n'
        )
    return "".join([*lines, "</svg>\n"])


if __name__ == "__main__":
    TARGET.write_text(picture(), encoding="utf-8")
