"""Decoding for programs in which nothing else stands in for a picture that hangs, crashes or swallows the memory.

A build decodes in workers that its engine replaces (dataprep.limits). A command that colours, scores or shows pictures
has one process, whose threads cannot be interrupted inside of a library. So what could be slow is decoded by a helper,
a process of this one's own that is ended at its limit and started again for the next picture; bytes go there and
pixels come back by pipes, never as pickles. PNG, JPEG, WebP, GIF, BMP and Photoshop documents of ordinary size are
bounded by what their headers say (but for run-length BMP), at a few seconds for the largest: they are decoded here, at
no cost. The helper costs some 0.3 seconds once, and about a millisecond a megapixel.
"""

import atexit
import json
import os
import resource
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from dataprep.faults import Failure, attempt
from dataprep.limits import LimitSettings, memory_limit
from dataprep.pictures import decode as unguarded
from dataprep.pictures import print_facts as unguarded_facts
from dataprep.pictures import psd, svg
from dataprep.pictures.decode import MAX_PIXELS, Picture, UnreadablePicture
from dataprep.pictures.print_facts import PrintFacts

LIMITS = LimitSettings()  # unless a caller gives others
MOST_BYTES_HERE = 32 << 20  # of a file that is decoded in this process
_BOUNDED = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF", psd.SIGNATURE)
_TIFF = (b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"II+\0", b"MM\0+")  # Pillow takes the swapped ones too
_SLOW = (*_TIFF, b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")  # and JPEG 2000
_RLE = (1, 2)  # BMP compressions that Pillow unpacks in Python
_CHUNK = 1 << 20


def decode(data: bytes, max_pixels: int = MAX_PIXELS, limits: LimitSettings | None = None) -> Picture:
    """`dataprep.pictures.decode.decode` within limits of time and memory; raises UnreadablePicture."""
    if is_bounded(data):
        return unguarded.decode(data, max_pixels)
    return _picture(*_HELPER.ask("decode", data, [max_pixels], limits))


def decode_at_least(
    data: bytes, width: int, height: int, max_pixels: int = MAX_PIXELS, limits: LimitSettings | None = None
) -> Picture:
    """`dataprep.pictures.decode.decode_at_least` within limits of time and memory; raises UnreadablePicture."""
    if is_bounded(data):
        return unguarded.decode_at_least(data, width, height, max_pixels)
    return _picture(*_HELPER.ask("decode_at_least", data, [width, height, max_pixels], limits))


def decode_rgba(
    data: bytes, max_pixels: int = MAX_PIXELS, limits: LimitSettings | None = None
) -> npt.NDArray[np.uint8]:
    """`dataprep.pictures.decode.decode_rgba` within limits of time and memory; raises UnreadablePicture."""
    if is_bounded(data):
        return unguarded.decode_rgba(data, max_pixels)
    pixels = _HELPER.ask("decode_rgba", data, [max_pixels], limits)[1][0]
    assert pixels is not None
    return pixels


def measure(data: bytes, max_pixels: int = MAX_PIXELS, limits: LimitSettings | None = None) -> tuple[int, int]:
    """`dataprep.pictures.decode.measure` within limits of time and memory; raises UnreadablePicture."""
    if is_bounded(data):
        return unguarded.measure(data, max_pixels)
    width, height = _HELPER.ask("measure", data, [max_pixels], limits)[0]["size"]
    return width, height


def print_facts(data: bytes, limits: LimitSettings | None = None) -> PrintFacts:
    """`dataprep.pictures.print_facts.print_facts` within limits of time and memory; past them nothing is stated."""
    if is_bounded(data):
        return unguarded_facts.print_facts(data)
    try:
        fields, (profile, _) = _HELPER.ask("print_facts", data, [], limits)
    except UnreadablePicture:
        return PrintFacts()
    dpi = None if fields["dpi"] is None else (fields["dpi"][0], fields["dpi"][1])
    return PrintFacts(dpi, None if profile is None else profile.tobytes())


def rasterize(markup: str, limits: LimitSettings | None = None) -> npt.NDArray[np.uint8]:
    """uint8 (H, W, 4), straight alpha: `dataprep.pictures.svg.rasterize` of markup that is checked first, as a drawing
    that comes as a file is, within limits of time and memory; raises UnreadablePicture."""
    pixels = _HELPER.ask("rasterize", markup.encode(), [], limits)[1][0]
    assert pixels is not None
    return pixels


def is_bounded(data: bytes) -> bool:
    """Whether what the header says bounds the time and memory of decoding; so it is for bytes of no kind we know."""
    if len(data) > MOST_BYTES_HERE or (data[:2] == b"BM" and int.from_bytes(data[30:34], "little") in _RLE):
        return False
    if data.startswith(_BOUNDED):
        return True
    return not (data.startswith(_SLOW) or data[4:8] == b"ftyp" or svg.looks_like_svg(data))


# ---- the helper, seen from here -------------------------------------------------------------------------------------

Arrays = tuple[npt.NDArray[np.uint8] | None, npt.NDArray[np.uint8] | None]


def _picture(fields: dict[str, Any], arrays: Arrays) -> Picture:
    rgb, alpha = arrays
    assert rgb is not None
    extent = None if fields["extent"] is None else (fields["extent"][0], fields["extent"][1])
    return Picture(rgb, alpha, fields["plain"], extent, tuple(fields["notes"]), fields["lossless"])


class _Helper:
    """A process that decodes, one picture at a time; threads take turns."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0  # a fork of this process has no helper
        self._memory_bytes = 0
        self._lock = threading.Lock()

    def ask(
        self, call: str, data: bytes, arguments: list[int], limits: LimitSettings | None
    ) -> tuple[dict[str, Any], Arrays]:
        """What the call gives: fields and up to two arrays. Raises UnreadablePicture, with a limit that was passed."""
        limits = limits or LIMITS
        with self._lock:
            try:
                process = self._running(limits.memory_bytes)
                answer, arrays = self._exchange(process, call, data, arguments, limits.seconds_per_picture)
            except TimeoutError as error:
                self.close()
                seconds = limits.seconds_per_picture
                raise UnreadablePicture(f"decoding took more than {seconds:g} s and was given up") from error
            except (EOFError, BrokenPipeError) as error:
                self.close()
                much = f"it wanted more than {limits.memory_bytes / 2**30:.3g} GiB of memory, or is damaged"
                raise UnreadablePicture(f"decoding ended the process that did it: {much}") from error
            except BaseException:
                self.close()  # an interrupt: what comes next would be the answer to this
                raise
        if "error" in answer:
            raise UnreadablePicture(answer["error"])
        return answer, arrays

    def close(self) -> None:
        """End the process; the next call starts another."""
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()

    def _running(self, memory_bytes: int) -> subprocess.Popen[bytes]:
        if self._owner != os.getpid() or self._memory_bytes != memory_bytes or self._process is None:
            self.close()
            paths = os.pathsep.join(path for path in sys.path if path)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "dataprep.pictures.guarded", str(memory_bytes)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # libraries complain there of pictures
                env={**os.environ, "PYTHONPATH": paths},
            )
            self._owner, self._memory_bytes = os.getpid(), memory_bytes
            assert self._process.stdout is not None
            self._process.stdout.readline()  # it is ready: starting counts for no picture
        return self._process

    @staticmethod
    def _exchange(
        process: subprocess.Popen[bytes], call: str, data: bytes, arguments: list[int], seconds: float
    ) -> tuple[dict[str, Any], Arrays]:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(_line({"call": call, "arguments": arguments, "bytes": len(data)}))
        process.stdin.write(data)
        process.stdin.flush()
        reader = _Reader(process.stdout.fileno(), time.monotonic() + seconds)
        answer: dict[str, Any] = json.loads(reader.line())
        first, second = (_array(reader, shape) for shape in (answer.get("shapes") or [None, None]))
        return answer, (first, second)


@dataclass
class _Reader:
    """Reads a pipe until a moment of time.monotonic; raises TimeoutError then, EOFError where it ends."""

    descriptor: int
    deadline: float
    ahead: bytes = b""

    def line(self) -> bytes:
        while b"\n" not in self.ahead:
            self.ahead += self._some(_CHUNK)
        line, _, self.ahead = self.ahead.partition(b"\n")
        return line

    def exactly(self, target: memoryview) -> None:
        """Fill `target`."""
        done = min(len(self.ahead), len(target))
        target[:done], self.ahead = self.ahead[:done], self.ahead[done:]
        while done < len(target):
            some = self._some(len(target) - done)
            target[done : done + len(some)] = some
            done += len(some)

    def _some(self, most: int) -> bytes:
        with selectors.DefaultSelector() as selector:
            selector.register(self.descriptor, selectors.EVENT_READ)
            if not selector.select(max(0.0, self.deadline - time.monotonic())):
                raise TimeoutError
        some = os.read(self.descriptor, min(most, _CHUNK))
        if not some:
            raise EOFError
        return some


def _array(reader: _Reader, shape: list[int] | None) -> npt.NDArray[np.uint8] | None:
    if shape is None:
        return None
    array = np.empty(shape, np.uint8)
    reader.exactly(array.data.cast("B"))
    return array


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


_HELPER = _Helper()
atexit.register(_HELPER.close)


# ---- the helper itself ----------------------------------------------------------------------------------------------


def _decoded(picture: Picture) -> tuple[dict[str, Any], Arrays]:
    fields = {"plain": picture.source_is_plain_rgb, "notes": picture.notes, "lossless": picture.lossless}
    return {**fields, "extent": picture.extent}, (picture.rgb, picture.alpha)


def _stated(facts: PrintFacts) -> tuple[dict[str, Any], Arrays]:
    profile = None if facts.profile is None else np.frombuffer(facts.profile, np.uint8)
    return {"dpi": facts.dpi}, (profile, None)


def _rasterized(data: bytes) -> npt.NDArray[np.uint8]:
    try:
        svg.measure(data, MAX_PIXELS)
        return svg.rasterize(data.decode())
    except ValueError as error:
        raise UnreadablePicture(str(error)) from error


_CALLS: dict[str, Callable[..., tuple[dict[str, Any], Arrays]]] = {
    "decode": lambda *given: _decoded(unguarded.decode(*given)),
    "decode_at_least": lambda *given: _decoded(unguarded.decode_at_least(*given)),
    "decode_rgba": lambda *given: ({}, (unguarded.decode_rgba(*given), None)),
    "measure": lambda *given: ({"size": unguarded.measure(*given)}, (None, None)),
    "print_facts": lambda data: _stated(unguarded_facts.print_facts(data)),
    "rasterize": lambda data: ({}, (_rasterized(data), None)),
}


def _serve(requests: IO[bytes], answers: IO[bytes], memory_bytes: int) -> None:
    """Answer until nobody asks any more."""
    answers.write(b"ready\n")
    answers.flush()
    while line := requests.readline():
        request = json.loads(line)
        data = requests.read(request["bytes"])
        made = attempt(lambda: _CALLS[request["call"]](data, *request["arguments"]))  # noqa: B023
        if isinstance(made, Failure):
            what = f"decoding wanted more than {memory_bytes / 2**30:.3g} GiB of memory"
            answers.write(_line({"error": what if made.reason == "out-of-memory" else made.message}))
        else:
            fields, arrays = made
            shapes = [None if array is None else list(array.shape) for array in arrays]
            answers.write(_line({**fields, "shapes": shapes}))
            for array in arrays:
                if array is not None:
                    answers.write(np.ascontiguousarray(array).data.cast("B"))
        answers.flush()


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(KeyboardInterrupt, BrokenPipeError), memory_limit(int(sys.argv[1])):
        _serve(sys.stdin.buffer, sys.stdout.buffer, int(sys.argv[1]))
