"""Names of choices, free of torch and of every other room."""

from __future__ import annotations

from typing import Literal, get_args

Geometry = Literal["camera", "benchmark"]
Border = Literal["extend", "circular"]
Precision = Literal["auto", "float32", "bfloat16"]
Criterion = Literal["one-seventh", "half-bit", "three-sigma"]
"""Threshold of Fourier ring correlation."""

Quality = Literal["fast", "refined"]
QUALITIES: tuple[Quality, ...] = get_args(Quality)

GEOMETRIES: tuple[Geometry, ...] = get_args(Geometry)
BORDERS: tuple[Border, ...] = get_args(Border)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
CRITERIA: tuple[Criterion, ...] = get_args(Criterion)
SCALES = (1, 2, 3, 4, 5, 6, 7, 8)

Finish = Literal["none", "prior", "usrnet", "measurement"]
FINISHES: tuple[Finish, ...] = get_args(Finish)

Sharing = Literal["plane", "channel", "shared"]
SHARINGS: tuple[Sharing, ...] = get_args(Sharing)

OutputType = Literal["float32", "source"]
OUTPUT_TYPES: tuple[OutputType, ...] = get_args(OutputType)

FileFormat = Literal["same", "tif", "zarr", "npy"]
