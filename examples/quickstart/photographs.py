"""Real photographs of several sizes, from the files that come with scikit-image."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import distribution
from io import BytesIO
from pathlib import Path
from typing import Final

from PIL import Image

__all__ = ["photographs"]

FILES: Final = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "moon.png",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "retina.jpg",
    "rocket.jpg",
)

#: Longer side of a thumbnail, in pixels.
THUMBNAIL: Final = 160

#: Of photographs with at least this many pixels there is an uncompressed copy, too.
MANY_PIXELS: Final = 360_000


def photographs() -> Iterator[tuple[str, bytes]]:
    """Yield names and contents: each file as it is, its thumbnail, and of big ones all pixels.

    Raises:
        PackageNotFoundError: If scikit-image is not installed.
    """
    # Found by its metadata, not imported: that would need NumPy and SciPy.
    folder = Path(str(distribution("scikit-image").locate_file("skimage/data")))
    for file in FILES:
        path = folder / file
        yield file, path.read_bytes()
        with Image.open(path) as image:
            small = image.copy()
            small.thumbnail((THUMBNAIL, THUMBNAIL))
            yield f"{path.stem}-small.jpg", _encode(small, "JPEG")
            if image.width * image.height >= MANY_PIXELS:
                yield f"{path.stem}.ppm", _encode(image, "PPM")


def _encode(image: Image.Image, kind: str) -> bytes:
    file = BytesIO()
    image.save(file, kind)
    return file.getvalue()
