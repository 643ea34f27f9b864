"""The content of a data file, read within limits: unpacked, and decoded from UTF-8."""

from __future__ import annotations

import codecs
import errno
import gzip
import os
import sys
import unicodedata
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from ftsdk._files import file_too_large, open_regular_file
from ftsdk.data.limits import LIMITS
from ftsdk.errors import DatasetError

__all__ = ["COMPRESSED", "read_text", "text_blocks", "unpacked_file"]

COMPRESSED = (".gz", ".zst")
"""Endings of files whose text is packed, behind the ending of what is in them: `.jsonl.gz`."""

_PACKED = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"PAR1": "Parquet",
}
"""How files begin that aren't text, whatever they are called."""
_WIDE = ("UTF-16LE", "UTF-16BE", "UTF-32LE", "UTF-32BE")
_BLOCK = 4 << 20


def read_text(path: Path, name: str) -> str:
    """Return the text of a file in UTF-8, without its byte order mark; see `text_blocks`."""
    return "".join(text_blocks(path, name))


def text_blocks(path: Path, name: str, *, is_streamed: bool = False) -> Iterator[str]:
    """Yield the text of a file in UTF-8 in blocks, without its byte order mark. `.gz` and `.zst` are unpacked.

    Args:
        path: The file; its ending says how it is packed.
        name: Its name, for errors.
        is_streamed: Whether it may have any size; then its lines have a limit.

    Raises:
        DatasetError: It can't be read, is too large, is empty, or isn't text in UTF-8; says how to convert it.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset, lines, is_blank, waiting_line = 0, 0, True, 0
    try:
        for block in _blocks(path, is_streamed=is_streamed):
            content = block
            if offset == 0:
                _check_is_text(content, name)
                content = content.removeprefix(codecs.BOM_UTF8)
            offset += len(block)
            waiting = len(decoder.getstate()[0])
            try:
                text = decoder.decode(content)
            except UnicodeDecodeError as error:
                lines += content.count(b"\n", 0, max(0, error.start - waiting))
                raise _not_utf8(name, offset - len(content) - waiting + error.start, error, lines) from error
            lines += content.count(b"\n")
            is_blank = is_blank and not text.strip()
            waiting_line = len(text) - text.rfind("\n") - 1 + (0 if "\n" in text else waiting_line)
            if is_streamed and waiting_line > LIMITS.line_characters:
                raise DatasetError(
                    f"the line is longer than {LIMITS.line_characters:,} characters.", source=name, line=lines + 1
                )
            yield text
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            raise _not_utf8(name, offset - len(error.object) + error.start, error, lines) from error
    except OSError as error:
        raise DatasetError(f"the file can't be read: {error.strerror or error}.", source=name) from error
    if is_blank:
        raise DatasetError("the file is empty.", source=name)


@contextmanager
def unpacked_file(path: Path, name: str) -> Generator[Path]:
    """Yield the path of a file as it is without `.gz` or `.zst`: itself, or an unpacked copy for the time being.

    Raises:
        DatasetError: It can't be read or is too large, or there is no room for the copy.
    """
    if path.suffix.lower() not in COMPRESSED:
        yield path
        return
    with TemporaryDirectory(prefix="ftsdk-") as folder:
        copy = Path(folder) / "unpacked"
        try:
            with copy.open("wb") as file:
                file.writelines(_blocks(path))
        except OSError as error:
            raise DatasetError(f"the file can't be read: {error.strerror or error}.", source=name) from error
        yield copy


def _blocks(path: Path, *, is_streamed: bool = False) -> Iterator[bytes]:
    """Yield the bytes of a file, unpacked. A streamed one may have any size.

    Raises:
        OSError: It can't be read, is damaged, or is too large.
    """
    with open_regular_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        ending = path.suffix.lower()
        most = LIMITS.file_bytes
        if ending in COMPRESSED:
            most = min(most, max(LIMITS.expanded_bytes, LIMITS.expansion * size))
        if is_streamed:
            most = sys.maxsize
        if size > most:
            raise file_too_large(most)
        taken = 0
        for block in _unpacked(file, ending):
            taken += len(block)
            # Some files of /proc never end and have the size 0, so the size alone isn't trusted.
            if taken > most:
                raise file_too_large(most)
            yield block


def _unpacked(file: BinaryIO, ending: str) -> Iterator[bytes]:
    if ending == ".gz":
        with gzip.GzipFile(fileobj=file) as unpacked:
            try:
                while block := unpacked.read(_BLOCK):
                    yield block
            except (EOFError, zlib.error) as error:
                raise OSError(errno.EIO, f"its gzip data is damaged ({error})") from error
    elif ending == ".zst":
        import pyarrow

        with pyarrow.CompressedInputStream(file, "zstd") as unpacked:
            try:
                while block := unpacked.read(_BLOCK):
                    yield block
            except (OSError, pyarrow.ArrowException) as error:
                raise OSError(errno.EIO, f"its Zstandard data is damaged ({error})") from error
    else:
        while block := file.read(_BLOCK):
            yield block


def _check_is_text(content: bytes, name: str) -> None:
    packed = next((kind for start, kind in _PACKED.items() if content.startswith(start)), None)
    if packed is not None:
        raise DatasetError(
            f"the file isn't text, but {packed}.", source=name, hint="Unpack or export it first, or correct its name."
        )
    encoding = _wide_encoding(content)
    if encoding is not None:
        raise DatasetError(f"the file is in {encoding}, not UTF-8.", source=name, hint=_convert(name, encoding))


def _not_utf8(name: str, offset: int, error: UnicodeDecodeError, lines: int) -> DatasetError:
    return DatasetError(
        f"the file isn't in UTF-8: byte 0x{error.object[error.start]:02x} at offset {offset} can't be decoded.",
        source=name,
        line=lines + 1,
        hint=_convert(name, "WINDOWS-1252"),
    )


def _wide_encoding(content: bytes) -> str | None:
    """Return UTF-16 or UTF-32 if the text is in one of them: by its byte order mark, or by what its beginning reads as.

    Rows of any language have ASCII in them: names of columns, quotes, commas, line breaks.
    """
    if content.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "UTF-32"
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16"
    start = content[:4096]
    controls = _share_of_controls(start)
    # Read byte by byte, half of wide ASCII is NUL, Cyrillic is full of other control characters, and most else isn't
    # UTF-8. A few control characters in a text in UTF-8 are what a field holds.
    if controls is not None and controls < 0.2:
        return None
    letters = {encoding: _ascii_letters(start, encoding) or 0 for encoding in _WIDE}
    best = max(letters, key=letters.__getitem__)
    fewest = 1 if controls is None else len(start) // (32 if "32" in best else 16)
    return best if letters[best] >= max(1, fewest) else None


def _share_of_controls(beginning: bytes) -> float | None:
    """Return the share of control characters in a text in UTF-8; None if it is none."""
    try:
        text = codecs.getincrementaldecoder("UTF-8")().decode(beginning)
    except UnicodeDecodeError:
        return None
    controls = sum(unicodedata.category(character) == "Cc" and character not in "\t\r\n" for character in text)
    return controls / max(1, len(text))


def _ascii_letters(content: bytes, encoding: str) -> int | None:
    """Return how many characters of the beginning of a text are ASCII; None if it isn't text in this encoding."""
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(content)
    except UnicodeDecodeError:
        return None
    if any(unicodedata.category(character) in ("Cc", "Cn") and character not in "\t\r\n" for character in text):
        return None
    return sum(map(str.isascii, text))


def _convert(name: str, encoding: str) -> str:
    stem, dot, ending = name.rpartition(".")
    return f"Convert it, for example: iconv -f {encoding} -t UTF-8 {name} > {stem}-utf8{dot}{ending}"
