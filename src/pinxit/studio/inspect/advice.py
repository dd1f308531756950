"""What to do with a file, as sentences, most urgent first; a command in them can be typed as it stands."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pinxit.studio.inspect.foreign import Stranger
from pinxit.studio.inspect.identity import Identity
from pinxit.studio.inspect.licences import Licence
from pinxit.studio.inspect.words import Note, note, plain

SOURCES: Mapping[tuple[str, str], str] = {
    ("sd1", "vae"): "stabilityai/sd-vae-ft-mse",
    ("sd1", "text_encoder"): "openai/clip-vit-large-patch14",
    ("sd2", "vae"): "stabilityai/stable-diffusion-2-1, folder vae",
    (
        "sd2",
        "text_encoder",
    ): "stabilityai/stable-diffusion-2-1, folder text_encoder",
    ("sdxl", "vae"): "stabilityai/sdxl-vae",
    ("sdxl", "text_encoder"): "openai/clip-vit-large-patch14",
    ("sdxl", "text_encoder_2"): "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k",
    ("sd3", "vae"): "stabilityai/stable-diffusion-3-medium, folder vae",
    ("sd3", "text_encoder"): "openai/clip-vit-large-patch14",
    ("sd3", "text_encoder_2"): "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k",
    ("sd3", "text_encoder_3"): "google/t5-v1_1-xxl",
}
"""Where a part that a family's files may lack usually comes from: a repository on the model hub."""

STRANGERS: Mapping[str, str] = {
    "git-lfs-pointer": "lfs",
    "gguf": "safetensors",
    "onnx": "safetensors",
    "hdf5": "safetensors",
    "numpy": "safetensors",
    "tflite": "safetensors",
    "archive": "unpack",
    "zip": "unpack",
    "picture": "picture",
}
"""The advice for a kind of file; where a kind is not named, to download it again."""

KINDS: Mapping[str, str] = {
    "lora": "beside",
    "controlnet": "beside",
    "t2i-adapter": "beside",
    "ip-adapter": "beside",
    "embedding": "beside",
    "hypernetwork": "beside",
    "vae": "vae",
    "taesd": "vae",
    "upscaler": "upscaler",
}
"""The advice for a kind of network file."""

PAINTS = ("checkpoint", "diffusers")


def convert_command(path: Path) -> str:
    """The command that makes a safetensors file of a legacy one."""
    return f"pinxit models convert {_word(path)} {_word(path.with_suffix('.safetensors'))}"


def advice_for(found: Identity, path: Path, licence: Licence, folders: Sequence[Path]) -> tuple[Note, ...]:
    """Advice for a file whose tensors were understood, or at least looked at. `folders` are where models lie."""
    return tuple(_advice(found, path, licence, folders))


def stranger_advice(found: Stranger, path: Path, size: int) -> tuple[Note, ...]:
    """Advice for a file without tensors for us."""
    if found.kind == "pickle" or (found.kind == "gguf" and found.rest is not None):
        return (note("advice.convert", command=convert_command(path)),)
    if found.kind == "truncated":
        return (note("advice.again", have=f"{size:,}", need=f"{found.need:,}"),)
    return (note(f"advice.{STRANGERS.get(found.kind, 'download')}"),)


def folder_advice(
    path: Path, *, whole: bool, legacy: Sequence[str], models: Sequence[str], hint: str
) -> tuple[Note, ...]:
    """Advice for a folder that cannot be read as a model; the names are those of files in it."""
    if whole and legacy:
        return (note("advice.convert", command=f"pinxit models convert {_word(path)} {_word(_beside(path))}"),)
    if models and not whole:
        return (note("advice.inspect", command=f"pinxit models inspect {_word(path / sorted(models)[0])}"),)
    return (plain(hint),) if hint else ()


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}-safetensors")


def _advice(found: Identity, path: Path, licence: Licence, folders: Sequence[Path]) -> Iterator[Note]:
    if found.match is not None and found.match.missing:
        yield note("advice.tensors", count=len(found.match.missing))
    yield from _missing(found)
    if found.family is not None:
        yield from _use(found, path, folders)
        yield from _smaller(found, path)
    else:
        if found.goes_with and found.kind not in PAINTS:
            yield note("advice.accept", family=found.goes_with)
        if found.kind in ("diffusers-part", "text-encoder", "clip-vision"):
            yield note("advice.part")
        elif found.kind in KINDS:
            yield note(f"advice.{KINDS[found.kind]}")
        elif found.hint:
            yield plain(found.hint)
        elif found.kind == "unknown":
            yield note("advice.unknown")
    if licence.commercial == "no":
        yield note("advice.licence")


def _missing(found: Identity) -> Iterator[Note]:
    family = found.family
    if family is None:
        return
    for name in found.missing:
        source = SOURCES.get((family.name, name))
        if source is None:
            yield note("advice.missing-unknown", part=part_title(name))
        elif name in family.optional:
            yield note("advice.missing-optional", part=part_title(name), source=source)
        else:
            yield note("advice.missing", part=part_title(name), source=source)


def part_title(name: str) -> Note:
    """What a component is called in a sentence."""
    if name == "vae":
        return note("part.vae")
    return note("part.text-encoder" if name.startswith("text_encoder") else "part.other", name=name)


def _use(found: Identity, path: Path, folders: Sequence[Path]) -> Iterator[Note]:
    family, facts = found.family, found.facts
    if facts is None or family is None or (found.match is not None and found.match.missing):
        return
    if facts.can_paint:
        yield plain(facts.can_paint[:1].upper() + facts.can_paint[1:] + ".")
    if set(found.missing) <= set(family.optional):
        picture = " --image picture.png" if facts.can_paint else ""
        yield note("advice.paint", command=f'pinxit paint "a lighthouse at dusk" --model {_word(path)}{picture}')
        if folders and path.parent not in folders:
            yield note("advice.name", folder=str(folders[0]))


def _smaller(found: Identity, path: Path) -> Iterator[Note]:
    """Ways to a smaller file that paints the same."""
    if path.is_dir() or found.match is None or found.match.missing:
        return
    smaller = _word(path.with_name(f"{path.name.split('.')[0]}-small.safetensors"))
    if any(part.name.endswith("_average") for part in found.components):
        yield note("advice.average", command=f"pinxit models prune {_word(path)} {smaller}")
    elif any("F32" in part.dtypes and part.parameters > 10**7 for part in found.components):
        yield note("advice.half", command=f"pinxit models convert {_word(path)} {smaller} --dtype f16")


def _word(path: Path) -> str:
    return shlex.quote(str(path))
