"""Records of a TFRecord file: a length, its checksum, the bytes, their checksum.

Format: TensorFlow's `tensorflow/core/lib/io/record_writer.h`; the checksums are masked CRC-32C.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import google_crc32c
import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.files import CHUNK_BYTES, open_binary

BLOCK = CHUNK_BYTES  # of a file, that are read and decoded at once; a longer record makes its block longer
_HEAD, _FOOT = 12, 4  # bytes around a record
_COMPRESSED = (b"\x1f\x8b", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")  # first bytes of gzip and of zlib


@dataclass(frozen=True)
class Block:
    """Whole records of a file: record i is `data[start[i]:end[i]]`, and number `first + i` of the file, from 1."""

    data: bytes
    start: Array
    end: Array
    first: int


def checksum(data: bytes) -> int:
    """The masked CRC-32C of bytes."""
    crc: int = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def framed(record: bytes) -> bytes:
    """A record as it is written to a file."""
    head = struct.pack("<Q", len(record))
    return b"".join([head, struct.pack("<I", checksum(head)), record, struct.pack("<I", checksum(record))])


def read_blocks(path: str) -> Iterator[Block]:
    """The records of a file in blocks; gzip and zlib are recognised by their first bytes, as ml4ir writes them.

    Raises:
        DataError: no such file, no TFRecord file, a damaged or truncated record, with its number.
    """
    with open_binary(path) as stream:
        pieces = iter(lambda: stream.read(BLOCK), b"")
        head = next(pieces, b"")
        pieces = _chain(head, pieces)
        if head.startswith(_COMPRESSED) and not _is_head(head):
            pieces = _inflated(path, pieces)
        number, rest = 1, b""
        for piece in pieces:
            block, used = _split(path, rest + piece, number)
            if len(block.start):
                yield block
            number += len(block.start)
            rest = block.data[used:]
    if rest:
        raise DataError(f"{path}, record {number}: the file ends inside this record; it is truncated.")


def _chain(head: bytes, pieces: Iterable[bytes]) -> Iterator[bytes]:
    yield head
    yield from pieces


def _split(path: str, data: bytes, number: int) -> tuple[Block, int]:
    """The whole records at the start of `data`, and the number of bytes that they take."""
    start: list[int] = []
    end: list[int] = []
    at = 0
    while at + _HEAD <= len(data):
        length, length_crc = struct.unpack_from("<QI", data, at)
        if checksum(data[at : at + 8]) != length_crc:
            what = "this is no TFRecord file" if number == 1 and not at else "its length is damaged (CRC)"
            raise DataError(f"{path}, record {number + len(start)}: {what}.")
        first, last = at + _HEAD, at + _HEAD + length
        if last + _FOOT > len(data):
            break
        if checksum(data[first:last]) != int.from_bytes(data[last : last + _FOOT], "little"):
            raise DataError(f"{path}, record {number + len(start)}: its content is damaged (CRC).")
        start.append(first)
        end.append(last)
        at = last + _FOOT
    return Block(data, np.array(start, np.int64), np.array(end, np.int64), number), at


def _is_head(data: bytes) -> bool:
    """True where the bytes start with the length of a record and its checksum."""
    return len(data) >= _HEAD and checksum(data[:8]) == int.from_bytes(data[8:_HEAD], "little")


def _inflated(path: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Decompressed gzip (of one or more parts) or zlib, in pieces of at most `BLOCK` bytes."""
    inflater = zlib.decompressobj(wbits=47)  # 47: gzip or zlib
    try:
        for piece in pieces:
            while piece:
                if inflater.eof:
                    inflater = zlib.decompressobj(wbits=47)
                yield inflater.decompress(piece, BLOCK)
                piece = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
    except zlib.error as error:
        raise DataError(f"{path} cannot be read: its compression is damaged ({error}).") from None
    if not inflater.eof:
        raise DataError(f"{path} cannot be read: its compressed content is cut short.")
