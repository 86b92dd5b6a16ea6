"""The process that reads one picture: from stdin to a JSON list of lines on stdout.

It is started by `reading`, and needs the extra `verification`, whose wheel carries its models: nothing is
fetched.
"""

import io
import resource
import sys
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
from PIL import Image, ImageOps
from rapidocr import RapidOCR

_MEMORY: Final = 6 * 2**30
_CPU_SECONDS: Final = 100
_MOST_PIXELS: Final = 26_000_000
_LONGEST_SIDE: Final = 2_000
# Two boxes are of one line where their middles are closer than half a line's height.
_SAME_LINE: Final = 0.5


def main() -> None:
    """Read stdin, write stdout; whatever goes wrong ends the process with an error."""
    _hold_back()
    picture = _decoded(sys.stdin.buffer.read())
    # Without a look for lines upside down: a row of fillers looks like one.
    result = RapidOCR()(np.asarray(picture), use_cls=False)
    boxes = [] if result.txts is None else list(zip(result.boxes, result.txts, result.scores, strict=True))
    sys.stdout.buffer.write(msgspec.json.encode(_lines(boxes)))


def _hold_back() -> None:
    """Take from this process what it does not need: memory, time, and files."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _decoded(data: bytes) -> Any:
    Image.MAX_IMAGE_PIXELS = _MOST_PIXELS
    with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as opened:
        opened.draft("RGB", (_LONGEST_SIDE, _LONGEST_SIDE))
        picture = ImageOps.exif_transpose(opened).convert("RGB")
    picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    return picture


def _lines(boxes: Sequence[Any]) -> list[tuple[str, float]]:
    """Return the text of each line, boxes side by side joined, with the least sure box's score."""
    lines: list[list[tuple[float, float, str, float]]] = []
    for corners, text, score in sorted(boxes, key=lambda one: float(one[0][:, 1].mean())):
        top, bottom = float(corners[:, 1].min()), float(corners[:, 1].max())
        middle, left = (top + bottom) / 2, float(corners[:, 0].min())
        part = (middle, left, str(text), float(score))
        if lines and middle - lines[-1][0][0] < _SAME_LINE * (bottom - top):
            lines[-1].append(part)
        else:
            lines.append([part])
    ordered = [sorted(line, key=lambda part: part[1]) for line in lines]
    return [(" ".join(part[2] for part in line), min(part[3] for part in line)) for line in ordered]


if __name__ == "__main__":
    main()
