"""What the doctor says, in English; `studio/locale` holds the same in other languages. Texts may hold `{places}`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from pinxit.schema.language import language, locale_texts


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence that can be said in every language: a text id and what fills its places (text, or other notes)."""

    key: str
    values: Mapping[str, object] = field(default_factory=dict[str, object])

    def text(self, lang: str = "en") -> str:
        """The sentence in the language that answers to the tag `lang`."""
        lang = language(lang)
        words = TEXTS[self.key] if lang == "en" else locale_texts("pinxit.studio", lang)[self.key]
        filled = {name: value.text(lang) if isinstance(value, Note) else value for name, value in self.values.items()}
        return words.format(**filled)


def note(key: str, **values: object) -> Note:
    """The text called `key` with its places filled."""
    return Note(key, values)


def plain(text: str) -> Note:
    """Words of somebody else's, the same in every language."""
    return Note("plain", {"text": text})


TEXTS: Mapping[str, str] = MappingProxyType(
    {
        "plain": "{text}",
        "advice.accept": "Use it with {family}.",
        "advice.again": "Download it again: {have} of {need} bytes are here.",
        "advice.average": "It also holds averaged weights (EMA), which painting does not need: {command}",
        "advice.beside": "It is used beside a model, not in its place.",
        "advice.convert": "Convert it; nothing in it is run while that happens: {command}",
        "advice.download": "Download the model itself again.",
        "advice.half": "Its numbers take 32 bits each; 16 are enough to paint, at half the size: {command}",
        "advice.index": "Give the index of the shards beside it: {name}",
        "advice.index-missing": "Fetch the other shards and the .safetensors.index.json that belongs to them.",
        "advice.inspect": "Look at one of the models in it: {command}",
        "advice.lfs": "Fetch the weights with `git lfs pull`, or download the file itself.",
        "advice.licence": "Read its licence before you use it for business.",
        "advice.missing": "{part} is missing; it usually comes from {source}.",
        "advice.missing-optional": "{part} is not in it; the model paints without it, less exactly. It is in {source}.",
        "advice.missing-unknown": "{part} is missing; take it from a model of the same family.",
        "advice.name": "Put it into {folder} to call it by its name.",
        "advice.paint": "Paint with it: {command}",
        "advice.part": "It is one part of a model: give the folder or file that holds all of them.",
        "advice.picture": "Pictures are given to `pinxit paint` with --image.",
        "advice.safetensors": "Look for the .safetensors version of this model.",
        "advice.tensors": "{count} tensors are missing, so the file cannot be loaded as it is: download it again.",
        "advice.unknown": "pinxit cannot use it. The page that it came from may say which program can.",
        "advice.unpack": "Unpack it first.",
        "advice.upscaler": "It makes finished pictures larger; it is no model by itself.",
        "advice.vae": "It can stand in for the VAE of a model; it is no model by itself.",
        "commercial.attribution": "the authors must be named",
        "commercial.copyleft": "changed versions must be shared under the same licence, with their sources",
        "commercial.no-derivatives": "changed versions must not be shared",
        "commercial.revenue": (
            "free below 1,000,000 US dollars of yearly revenue; a paid licence of Stability AI is needed above"
        ),
        "commercial.share-alike": "the authors must be named, and changed versions shared under the same licence",
        "commercial.use": "some uses are forbidden; its licence lists them, and they must be passed on",
        "kind.archive": "archive",
        "kind.checkpoint": "checkpoint",
        "kind.clip-vision": "CLIP vision encoder",
        "kind.controlnet": "ControlNet",
        "kind.damaged": "damaged file",
        "kind.database": "database",
        "kind.diffusers": "diffusers folder",
        "kind.diffusers-part": "part of a diffusers folder",
        "kind.embedding": "embedding (textual inversion)",
        "kind.empty": "empty file",
        "kind.folder": "folder",
        "kind.gguf": "GGUF file",
        "kind.git-lfs-pointer": "git-lfs pointer, not the weights",
        "kind.hdf5": "HDF5 file",
        "kind.html-page": "web page, not a model",
        "kind.hypernetwork": "hypernetwork",
        "kind.ip-adapter": "IP-Adapter",
        "kind.json": "JSON text, not a model",
        "kind.language-model": "language model",
        "kind.lora": "LoRA",
        "kind.numpy": "NumPy array",
        "kind.onnx": "ONNX model",
        "kind.other-model": "model of another program",
        "kind.pickle": "Python pickle (legacy format)",
        "kind.picture": "picture",
        "kind.program": "program",
        "kind.shard": "shard of a model",
        "kind.t2i-adapter": "T2I-Adapter",
        "kind.taesd": "tiny VAE",
        "kind.text": "text, not a model",
        "kind.text-encoder": "text encoder",
        "kind.tflite": "TensorFlow Lite model",
        "kind.truncated": "truncated file",
        "kind.unknown": "unknown",
        "kind.upscaler": "upscaler",
        "kind.vae": "VAE",
        "kind.zip": "zip archive",
        "part.text-encoder": "The text encoder ({name})",
        "part.other": "The part {name}",
        "part.vae": "The VAE",
    }
)
