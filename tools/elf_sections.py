"""Sizes of an ELF file's loaded sections in bytes: text (code and constants), data, bss.

Needs nothing but Python: binutils for ARM are seldom at hand.
"""

import struct
import sys

ALLOC, WRITE, NOBITS = 2, 1, 8


def sections(elf: bytes):
    """(name, type, flags, size) of every section of a 32-bit little-endian ELF file."""
    if elf[:6] != b"\x7fELF\x01\x01":
        sys.exit("reading the ELF file: not a 32-bit little-endian one; build it for thumbv7em-none-eabi")
    (table,) = struct.unpack_from("<I", elf, 32)
    entry_size, count, names_at = struct.unpack_from("<HHH", elf, 46)
    headers = [struct.unpack_from("<IIIIII", elf, table + i * entry_size) for i in range(count)]
    names = headers[names_at][4]
    for name, kind, flags, _address, _offset, size in headers:
        start = names + name
        yield elf[start : elf.index(b"\0", start)].decode(), kind, flags, size


def main(path: str) -> None:
    text = data = bss = 0
    with open(path, "rb") as file:
        for name, kind, flags, size in sections(file.read()):
            if not flags & ALLOC or name.startswith(".ARM"):
                continue  # debug, notes, and unwind tables that an aborting device leaves out
            if kind == NOBITS:
                bss += size
            elif flags & WRITE:
                data += size
            else:
                text += size
    print(f"text {text} data {data} bss {bss}")


main(sys.argv[1])
