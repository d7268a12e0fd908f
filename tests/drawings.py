"""A folder of simple drawings with captions, for tests of training on anybody's pictures."""

from pathlib import Path

from PIL import Image, ImageDraw

SHAPES = ("square", "disc", "triangle")
COLOURS = ("red", "blue", "green", "black")


def write_drawings(folder: Path, *, size: int = 32, count: int = 12) -> Path:
    """Write one shape in one colour a picture; the file names are the captions."""
    folder.mkdir(parents=True)
    for number in range(count):
        shape, colour = SHAPES[number % 3], COLOURS[number // 3 % 4]
        picture = Image.new("RGB", (size, size), "white")
        pen, near, far = ImageDraw.Draw(picture), size // 5, size - size // 5
        if shape == "square":
            pen.rectangle((near, near, far, far), fill=colour)
        elif shape == "disc":
            pen.ellipse((near, near, far, far), fill=colour)
        else:
            pen.polygon([(size // 2, near), (far, far), (near, far)], fill=colour)
        picture.save(folder / f"{colour}_{shape}_{number}.png")
    return folder
