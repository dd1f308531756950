"""CLIP's image half as data: its sizes, how pictures are prepared for it, and its names in every spelling. No torch.

```
Hugging Face       vision_model.encoder.layers.0.self_attn.q_proj   (ours; without vision_model. since transformers 5)
OpenCLIP, OpenAI   visual.transformer.resblocks.0.attn.in_proj_weight
```
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, cast

from pinxit.models.common.layouts import CLIP_LAYER
from pinxit.models.common.measured import settings_of
from pinxit.schema.errors import BadModelFile
from pinxit.weights.formula import Scope, Template
from pinxit.weights.identify import Match
from pinxit.weights.layout import ITS_WEIGHT, WHOLE, Leaf, Op, Place, Row, Table, View
from pinxit.weights.settings import Settings

HEADS = 16
"""Every image tower from ViT-L on has 16 heads, of 64, 80, 88 or 104 channels; smaller ones have heads of 64."""
SMALLEST_WITH_16_HEADS = 1024
_MODEL = "vision_model."


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """How a picture becomes what a tower sees: resized (bicubic) to `size` at its shorter side, cut to a square at the
    centre, scaled to 0..1, then (value - mean) / std per channel.
    """

    size: int = 224
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipVisionConfig:
    """An image tower. `projection` is the width of the image embedding, None where there is none."""

    width: int = 1024
    intermediate: int = 4096
    layers: int = 24
    heads: int = 16
    patch: int = 14
    image: int = 224
    activation: Literal["quick_gelu", "gelu"] = "quick_gelu"
    projection: int | None = 768

    @property
    def preprocessing(self) -> Preprocessing:
        return Preprocessing(size=self.image)


VISION_ROWS = (
    Row("", "", (Leaf("vision_model.embeddings.class_embedding", "class_embedding", WHOLE),)),
    Row("vision_model.embeddings.patch_embedding", "conv1", ITS_WEIGHT),
    Row("", "", (Leaf("vision_model.embeddings.position_embedding.weight", "positional_embedding", WHOLE),)),
    Row("vision_model.pre_layrnorm", "ln_pre"),
    Row("vision_model.encoder.layers.{i}", "transformer.resblocks.{i}", CLIP_LAYER, i="layers"),
    Row("vision_model.post_layernorm", "ln_post"),
    Row("", "", (Leaf("visual_projection.weight", "proj", WHOLE, Op.TRANSPOSE),), k="projection"),
)


def vision_sizes(view: View) -> Scope | None:
    """Sizes of an image tower in our spelling."""
    layers = view.count("vision_model.encoder.layers.#")
    return {"layers": layers, "projection": int(view.has("visual_projection.weight"))} if layers else None


def open_vision_sizes(view: View) -> Scope | None:
    """Sizes of an image tower in OpenCLIP's and OpenAI's spelling."""
    layers = view.count("transformer.resblocks.#")
    if not layers or not view.has("class_embedding"):
        return None
    return {"layers": layers, "projection": int(view.has("proj"))}


def bare_vision_sizes(view: View) -> Scope | None:
    """Sizes of an image tower whose names lack `vision_model.`"""
    layers = view.count("encoder.layers.#")
    if not layers or not view.has("embeddings.class_embedding"):
        return None
    return {"layers": layers, "projection": int(view.has("visual_projection.weight"))}


VISION_OPEN = Table(
    name="OpenCLIP image encoder", rows=VISION_ROWS, measure=open_vision_sizes, measure_ours=vision_sizes
)
VISION_HF = VISION_OPEN.own("CLIP image encoder")


def _bare(row: Row) -> Row:
    """The row of our own spelling with `vision_model.` taken off the right side."""
    names = [(leaf, leaf.theirs) for leaf in row.leaves if isinstance(leaf.theirs, str)]
    leaves = tuple(replace(leaf, theirs=theirs.removeprefix(_MODEL)) for leaf, theirs in names)
    return row.copy(theirs=Template(row.theirs.text.removeprefix(_MODEL)), leaves=leaves)


VISION_BARE = Table(
    name="CLIP image encoder without vision_model",
    rows=tuple(_bare(row) for row in VISION_HF.rows),
    measure=bare_vision_sizes,
    measure_ours=vision_sizes,
)


def vision_folder(part: str = "image_encoder") -> tuple[Place, ...]:
    """Where a folder keeps the image tower `part`."""
    return (
        Place(prefix=f"{part}/", table=VISION_HF, file="model"),
        Place(prefix=f"{part}/", table=VISION_BARE, file="model"),
    )


def vision_config(
    match: Match,
    *,
    activation: Literal["quick_gelu", "gelu"] | None = None,
    component: str = "image_encoder",
    settings: Settings | None = None,
) -> ClipVisionConfig | None:
    """An image tower's configuration off its shapes; None where the file has none.

    OpenAI's towers (B, L) have the approximate GELU, OpenCLIP's (H, g, bigG) the exact one: the width tells where
    `activation` does not. `settings`, by default the config.json beside, win for the activation and the heads. Raises
    BadModelFile where shapes contradict each other.
    """
    part = match.parts.get(component)
    if part is None:
        return None
    settings = settings or settings_of(match, component)
    stem = "vision_model.embeddings"
    width, patch = part.dim(f"{stem}.class_embedding", 0), part.dim(f"{stem}.patch_embedding.weight", 2)
    places = part.dim(f"{stem}.position_embedding.weight", 0) - 1
    side = round(max(places, 0) ** 0.5)
    if side < 1 or side * side != places:
        raise BadModelFile(f"The image encoder has {places} places for patches, which make no square.")
    default = HEADS if width >= SMALLEST_WITH_16_HEADS else max(1, width // 64)
    heads = settings.integer("num_attention_heads") or default
    if width % heads:
        raise BadModelFile(f"An image encoder {width} wide cannot have {heads} heads.")
    named = settings.text("hidden_act")
    if named not in (None, "quick_gelu", "gelu"):
        raise BadModelFile(f"{settings.source}: hidden_act {named!r} is unknown; known: quick_gelu, gelu.")
    return ClipVisionConfig(
        width=width,
        intermediate=part.dim("vision_model.encoder.layers.0.mlp.fc1.weight", 0),
        layers=cast(int, part.sizes["layers"]),
        heads=heads,
        patch=patch,
        image=side * patch,
        activation=named or activation or ("gelu" if width > SMALLEST_WITH_16_HEADS else "quick_gelu"),
        projection=part.dim("visual_projection.weight", 0) if part.sizes["projection"] else None,
    )


def vision_json(config: ClipVisionConfig) -> dict[str, object]:
    """config.json of an image tower."""
    projected = config.projection is not None
    return {
        "architectures": ["CLIPVisionModelWithProjection" if projected else "CLIPVisionModel"],
        "attention_dropout": 0.0,
        "hidden_act": config.activation,
        "hidden_size": config.width,
        "image_size": config.image,
        "intermediate_size": config.intermediate,
        "layer_norm_eps": 1e-05,
        "model_type": "clip_vision_model",
        "num_attention_heads": config.heads,
        "num_channels": 3,
        "num_hidden_layers": config.layers,
        "patch_size": config.patch,
        "projection_dim": config.projection if projected else config.width,
    }


def preprocessor_json(config: ClipVisionConfig) -> dict[str, object]:
    """preprocessor_config.json beside an image tower."""
    way = config.preprocessing
    return {
        "crop_size": {"height": way.size, "width": way.size},
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "feature_extractor_type": "CLIPFeatureExtractor",
        "image_mean": list(way.mean),
        "image_processor_type": "CLIPImageProcessor",
        "image_std": list(way.std),
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"shortest_edge": way.size},
    }


def with_image_encoder(
    files: Mapping[str, object], config: ClipVisionConfig, part: str = "image_encoder"
) -> dict[str, object]:
    """What the JSON files of a folder become with an image tower: its own, and the index that names it."""
    index = cast(dict[str, object], files["model_index.json"])
    kind = "CLIPVisionModelWithProjection" if config.projection is not None else "CLIPVisionModel"
    named = {part: ["transformers", kind], "feature_extractor": ["transformers", "CLIPImageProcessor"]}
    return {
        "model_index.json": {**index, **named},
        f"{part}/config.json": vision_json(config),
        "feature_extractor/preprocessor_config.json": preprocessor_json(config),
    }
