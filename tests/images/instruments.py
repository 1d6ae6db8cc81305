"""Files as microscopes' own programs lay them out, where no library writes such files."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

Planes = NDArray[np.uint16]
NAMES = ("DAPI", "GFP", "Cy5")


def write_lsm(path: Path, pixels: Planes, *, side: float, step: float) -> None:
    """Write (Z, C, Y, X) as Zeiss's LSM: TIFF with a thumbnail after each plane."""
    depth, channels, height, width = pixels.shape
    about = np.zeros((), tifffile.TIFF.CZ_LSMINFO)
    about["MagicNumber"], about["StructureSize"] = 0x0400494C, about.nbytes
    for name, length in zip(
        ("X", "Y", "Z", "Channels", "Time"), (width, height, depth, channels, 1), strict=True
    ):
        about[f"Dimension{name}"] = length
    about["VoxelSizeX"] = about["VoxelSizeY"] = side * 1e-6
    about["VoxelSizeZ"] = step * 1e-6
    colours = np.eye(3, 4, dtype=np.uint8)[:channels].tobytes()
    names = b"".join(
        struct.pack("<I", len(name) + 1) + name.encode() + b"\0" for name in NAMES[:channels]
    )
    after = 24 + len(colours)
    shown = struct.pack("<6I", after + len(names), channels, channels, 24, after, 0)
    options: dict[str, Any] = {
        "planarconfig": "separate",
        "photometric": "minisblack",
        "metadata": None,
    }
    tag = (34412, "B", about.nbytes, about.tobytes(), True)
    with tifffile.TiffWriter(path, byteorder="<") as tif:
        for number, plane in enumerate(pixels):
            tif.write(plane, extratags=[] if number else [tag], **options)
            tif.write(plane[:, ::4, ::4], subfiletype=1, **options)
    # Names and colours of channels lie elsewhere.
    content = bytearray(path.read_bytes())
    assert about.dtype.fields is not None
    field = content.index(about.tobytes()) + about.dtype.fields["OffsetChannelColors"][1]
    content[field : field + 4] = struct.pack("<I", len(content))
    path.write_bytes(content + colours.join([shown, names]))


def write_stk(path: Path, pixels: Planes, *, side: float) -> None:
    """Write (Z, Y, X) as MetaMorph's STK: TIFF of one page, behind which the other planes lie."""
    count = len(pixels)
    planes = np.ones((count, 6), "<u4")
    # Day and millisecond of the plane, and of its last change.
    planes[:, 2::2] = 2451545
    table = struct.pack("<8I", 4, 0, 5, 0, 6, 0, 0, 0)
    tifffile.imwrite(
        path,
        pixels,
        photometric="minisblack",
        byteorder="<",
        metadata=None,
        contiguous=True,
        extratags=[
            (33628, "I", 8, table, True),
            (33629, "I", planes.size, planes.tobytes(), True),
        ],
    )
    content = bytearray(path.read_bytes())
    # Their counts and types mean something else than those of TIFF.
    entry = content.index(struct.pack("<HHI", 33628, 4, 8))
    content[entry + 4 : entry + 8] = struct.pack("<I", 3)
    entry = content.index(struct.pack("<HHI", 33629, 4, planes.size))
    content[entry + 2 : entry + 8] = struct.pack("<HI", 5, count)
    start, end = content.index(table), len(content)
    for number in range(3):
        struct.pack_into("<I", content, start + 8 * number + 4, end + 8 * number)
    length = struct.pack("<II", round(1000 * side), 1000)
    path.write_bytes(content + length + length + struct.pack("<I", 3) + b"um\0")


def write_lif(path: Path, pixels: Planes, *, side: float, step: float) -> None:
    """Write (C, Z, Y, X) as Leica's LIF: a description in XML, then the pixels of each image."""
    channels, depth, height, width = pixels.shape
    plane = 2 * height * width
    described = "".join(
        f'<ChannelDescription DataType="0" ChannelTag="0" Resolution="16" Min="0" Max="65535" '
        f'NameOfMeasuredQuantity="" Unit="" LUTName="{name}" IsLUTInverted="0" '
        f'BytesInc="{number * depth * plane}" BitInc="0"/>'
        for number, name in enumerate(NAMES[:channels])
    )
    axes = ((1, width, side, 2), (2, height, side, 2 * width), (3, depth, step, plane))
    lengths = "".join(
        f'<DimensionDescription DimID="{number}" NumberOfElements="{count}" Origin="0" '
        f'Length="{1e-6 * size * (count - 1)}" Unit="m" BitInc="0" BytesInc="{inc}"/>'
        for number, count, size, inc in axes
    )
    head = _lif_text(
        '<LMSDataContainerHeader Version="2"><Element Name="a" Visibility="1" UniqueID="1"><Data>'
        '<Experiment/></Data><Memory Size="0" MemoryBlockID=""/><Children><Element Name="Cells" '
        'Visibility="1" UniqueID="2"><Data><Image TextDescription=""><ImageDescription><Channels>'
        f"{described}</Channels><Dimensions>{lengths}</Dimensions></ImageDescription></Image>"
        f'</Data><Memory Size="{pixels.nbytes}" MemoryBlockID="MemBlock_1"/></Element></Children>'
        "</Element></LMSDataContainerHeader>"
    )
    block = struct.pack("<BQ", 0x2A, pixels.nbytes) + _lif_text("MemBlock_1")
    pieces = [struct.pack("<II", 0x70, len(piece)) + piece for piece in (head, block)]
    path.write_bytes(b"".join(pieces) + pixels.astype("<u2").tobytes())


def _lif_text(text: str) -> bytes:
    return struct.pack("<BI", 0x2A, len(text)) + text.encode("utf-16-le")


def write_nd2(path: Path, pixels: Planes, *, side: float) -> None:
    """Write (C, Y, X) as Nikon's ND2: named chunks, and a map of them at the end."""
    channels, height, width = pixels.shape
    facts = _variant(
        "no_name",
        uiWidth=width,
        uiHeight=height,
        uiWidthBytes=2 * channels * width,
        uiComp=channels,
        uiBpcInMemory=16,
        uiBpcSignificant=16,
        uiSequenceCount=1,
        eCompression=2,
    )
    planes = "".join(
        _variant(
            f"a{number}",
            _variant("pFluorescentProbe", m_sName=name),
            sDescription=name,
            uiColor=0,
            uiCompCount=1,
        )
        for number, name in enumerate(NAMES[:channels])
    )
    picture = _variant(
        "no_name",
        _variant("sPicturePlanes", _variant("sPlaneNew", planes), uiCount=channels),
        dCalibration=side,
        bCalibrated=True,
        dTimeAbsolute=0.0,
        **{f"d{name}": 0.0 for name in ("XPos", "YPos", "ZPos", "TimeMSec")},
    )
    chunks = {
        "ImageAttributesLV!": f"<variant>{facts}</variant>".encode(),
        "ImageMetadataSeqLV|0!": f"<variant>{picture}</variant>".encode(),
        "CustomData|AcqTimesCache!": struct.pack("<d", 0),
        # The time comes before the pixels.
        "ImageDataSeq|0!": bytes(8) + np.moveaxis(pixels, 0, -1).astype("<u2").tobytes(),
    }
    content = _nd2_chunk(b"ND2 FILE SIGNATURE CHUNK NAME01!", b"Ver3.0".ljust(64, b"\0"))
    table = b""
    for key, data in chunks.items():
        table += key.encode() + struct.pack("<QQ", len(content), len(data))
        # Pixels begin 4096 bytes after their chunk.
        content += _nd2_chunk(key.encode().ljust(4072, b"\0"), data)
    end = b"ND2 CHUNK MAP SIGNATURE 0000001!" + struct.pack("<Q", len(content))
    path.write_bytes(content + _nd2_chunk(b"ND2 FILEMAP SIGNATURE NAME 0001!", table + end))


def _nd2_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack("<IIQ", 0x0ABECEDA, len(name), len(data)) + name + data


def _variant(tag: str, inner: str = "", **values: bool | float | str) -> str:
    """Return what Nikon calls a variant: names with values of a type."""
    kinds = {bool: "bool", int: "lx_uint32", float: "double", str: "CLxStringW"}
    fields = "".join(
        f'<{name} runtype="{kinds[type(value)]}" value="{value}"/>'
        for name, value in values.items()
    )
    return f'<{tag} runtype="CLxListVariant">{inner}{fields}</{tag}>'
