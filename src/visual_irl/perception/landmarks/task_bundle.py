"""A MediaPipe `.task` bundle out of bare `.tflite` networks: stored zip members, aligned to 16 bytes, with metadata.

MediaPipe 1.x refuses a network whose metadata does not say how pixels are normalised; the published ones lack it.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import flatbuffers
import numpy as np
from mediapipe.tasks.metadata import metadata_schema_py_generated as metadata_schema
from mediapipe.tasks.metadata import schema_py_generated as tflite_schema

ALIGNMENT = 16
"""Offset of a member's data in the zip is a multiple of this [bytes]: the runtime maps networks without a copy."""
_EXTRA_ID = 0xD935  # Android's zip alignment field
_LOCAL_HEADER = 30
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Member:
    """One network of a bundle: its name there, its file, and `(pixel - mean) / std` that its input expects.

    `outputs`: see `with_outputs`; empty leaves the network as it is.
    """

    name: str
    network: Path
    mean: float
    std: float
    outputs: Sequence[str] = ()


def build_bundle(path: Path, members: Sequence[Member], comment: str) -> None:
    """Write the bundle; the same members give the same bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for member in members:
            info = zipfile.ZipInfo(member.name, _EPOCH)
            end = archive.fp.tell() + _LOCAL_HEADER + len(member.name)  # type: ignore[union-attr]
            padding = -end % ALIGNMENT
            if padding:
                padding += ALIGNMENT if padding < 4 else 0  # the field's own header takes 4 bytes
                info.extra = struct.pack("<HH", _EXTRA_ID, padding - 4) + bytes(padding - 4)
            network = member.network.read_bytes()
            network = with_outputs(network, member.outputs) if member.outputs else network
            archive.writestr(info, with_normalization(network, member.mean, member.std))
        archive.comment = comment.encode()


def with_outputs(network: bytes, outputs: Sequence[str]) -> bytes:
    """The network with these outputs alone, in this order, without what computes only others.

    A name may be given twice: in the place of an output that nobody reads, where its number matters.
    """
    model = tflite_schema.ModelT.InitFromObj(tflite_schema.Model.GetRootAsModel(bytearray(network), 0))
    graph = model.subgraphs[0]
    named = {_text(graph.tensors[i].name): i for i in graph.outputs}
    graph.outputs = [named[name] for name in outputs]
    needed, kept = {int(i) for i in graph.outputs}, []
    for operator in reversed(graph.operators):
        if needed.intersection(int(i) for i in operator.outputs):
            kept.append(operator)
            needed.update(int(i) for i in operator.inputs)
    graph.operators = kept[::-1]
    builder = flatbuffers.Builder(len(network))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name


def with_normalization(network: bytes, mean: float, std: float) -> bytes:
    """The network with metadata that tells its input is an RGB picture, normalised as `(pixel - mean) / std`."""
    model = tflite_schema.ModelT.InitFromObj(tflite_schema.Model.GetRootAsModel(bytearray(network), 0))
    graph = model.subgraphs[0]
    subgraph = metadata_schema.SubGraphMetadataT()
    subgraph.inputTensorMetadata = [_image_input(mean, std) for _ in graph.inputs]
    subgraph.outputTensorMetadata = []
    for index in graph.outputs:
        output = metadata_schema.TensorMetadataT()
        output.name = graph.tensors[index].name
        subgraph.outputTensorMetadata.append(output)
    description = metadata_schema.ModelMetadataT()
    description.subgraphMetadata = [subgraph]
    description.minParserVersion = "1.0.0"
    builder = flatbuffers.Builder(0)
    builder.Finish(description.Pack(builder), b"M001")

    buffer = tflite_schema.BufferT()
    buffer.data = np.frombuffer(bytes(builder.Output()), np.uint8)
    entry = tflite_schema.MetadataT()
    entry.name = "TFLITE_METADATA"
    entry.buffer = len(model.buffers)
    model.buffers.append(buffer)
    kept = [m for m in model.metadata or [] if m.name not in ("TFLITE_METADATA", b"TFLITE_METADATA")]
    model.metadata = [*kept, entry]
    builder = flatbuffers.Builder(len(network) + 4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _image_input(mean: float, std: float) -> metadata_schema.TensorMetadataT:
    image = metadata_schema.ImagePropertiesT()
    image.colorSpace = metadata_schema.ColorSpaceType.RGB
    content = metadata_schema.ContentT()
    content.contentPropertiesType = metadata_schema.ContentProperties.ImageProperties
    content.contentProperties = image
    options = metadata_schema.NormalizationOptionsT()
    options.mean, options.std = [mean], [std]
    unit = metadata_schema.ProcessUnitT()
    unit.optionsType = metadata_schema.ProcessUnitOptions.NormalizationOptions
    unit.options = options
    stats = metadata_schema.StatsT()
    stats.min, stats.max = [(0.0 - mean) / std], [(255.0 - mean) / std]
    tensor = metadata_schema.TensorMetadataT()
    tensor.name = "image"
    tensor.content, tensor.processUnits, tensor.stats = content, [unit], stats
    return tensor
