"""Newline-delimited JSON (https://github.com/ndjson/ndjson-spec), both ways, without I/O.

The decoder cuts lines and leaves JSON to the caller. A blank line is a heartbeat and gives nothing.
"""

from __future__ import annotations

from headrace.errors import UpstreamProtocolError


class LineTooLarge(UpstreamProtocolError):
    """One line passed the limit. The decoder that raised it is unusable.

    ``lines`` holds what the same call had decoded before it, so that nothing complete is lost.
    """

    code = "event_too_large"

    def __init__(self, limit_bytes: int, lines: list[bytes] | None = None) -> None:
        super().__init__(f"a line is larger than {limit_bytes} bytes")
        self.limit_bytes = limit_bytes
        self.lines = lines or []


class NDJSONDecoder:
    """Turns bytes, cut anywhere, into lines.

    Time is linear in the bytes received, however they are cut; memory is at most ``max_line_bytes`` and one read.

    Args:
        max_line_bytes: Largest line in bytes, a CR before its LF counted.
    """

    def __init__(self, *, max_line_bytes: int) -> None:
        self._max_line_bytes = max_line_bytes
        self._is_broken = False
        self._line = bytearray()

    def receive_data(self, data: bytes) -> list[bytes]:
        """Return the lines that ``data`` completes, without their line end (LF or CRLF), blank ones left out.

        Raises:
            LineTooLarge: A line passed the limit.
        """
        if self._is_broken:
            raise LineTooLarge(self._max_line_bytes)
        *ends, rest = data.split(b"\n")
        lines: list[bytes] = []
        for end in ends:
            self._append(end, lines)
            line = bytes(self._line).removesuffix(b"\r")
            self._line.clear()
            if line.strip():
                lines.append(line)
        self._append(rest, lines)
        return lines

    def receive_eof(self) -> list[bytes]:
        """Return what the end of the stream completes: nothing, ever.

        A last line without its LF is a record that was cut, even where the part that came happens to be valid JSON
        (``12`` of ``123``): it is dropped.
        """
        self._line.clear()
        return []

    def _append(self, part: bytes, lines: list[bytes]) -> None:
        self._line += part
        if len(self._line) > self._max_line_bytes:
            self._is_broken = True
            self._line.clear()
            raise LineTooLarge(self._max_line_bytes, lines)


def encode_line(data: bytes) -> bytes:
    """Return one JSON text as a line.

    Raises:
        ValueError: ``data`` holds a raw line end.
    """
    if b"\n" in data or b"\r" in data:
        raise ValueError("an NDJSON record must not hold a raw line end")
    return data + b"\n"
