"""Reads the lines off a picture in a process of its own, which has no secrets, little memory and little time.

A picture comes from a stranger and goes through decoders written in C. What it might do to them, it does to
that process.
"""

import asyncio
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final

import msgspec

from user_service.verifications.finding import Line

_SECONDS: Final = 120.0
_PROGRAM: Final = "user_service.verifications.ocr"
_NEEDED: Final = ("rapidocr", "onnxruntime")


class ReadingFailed(Exception):
    """The picture could not be read: it is damaged, or took too long."""


class OcrReader:
    """Reads pictures one after another: the reader's models take half a gigabyte."""

    def __init__(self) -> None:
        self._one_at_a_time = asyncio.Semaphore(1)

    @property
    def is_installed(self) -> bool:
        """Whether the extra `verification` is there."""
        return all(find_spec(name) is not None for name in _NEEDED)

    async def read(self, image: bytes) -> Sequence[Line]:
        """Return the picture's lines from top to bottom; raise ReadingFailed."""
        async with self._one_at_a_time:
            # Without our environment, in which the secrets stand.
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", _PROGRAM),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={"OMP_NUM_THREADS": "1"},
            )
            try:
                async with asyncio.timeout(_SECONDS):
                    told, _ = await process.communicate(image)
            except TimeoutError as error:
                raise ReadingFailed(f"Reading took longer than {_SECONDS:g} s.") from error
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        if process.returncode != 0:
            raise ReadingFailed("The picture could not be decoded.")
        return [Line(text, score) for text, score in msgspec.json.decode(told, type=list[tuple[str, float]])]
