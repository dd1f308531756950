"""Network configurations from a file: sizes off the tables' axes and shapes, the rest from the part's config.json."""

from __future__ import annotations

from typing import Literal, cast

from pinxit.models.common.configs import ClipTextConfig, UNetConfig, VaeConfig
from pinxit.schema.errors import BadModelFile
from pinxit.weights.identify import Match, PartMatch
from pinxit.weights.settings import Settings


def settings_of(match: Match, part: str, file: str = "config.json") -> Settings:
    """The JSON beside `part` in a folder; empty for a single file."""
    source = f"{part}/{file}"
    return Settings(source=source, values=match.header.configs.get(source, {}))


def unet_config(
    match: Match, *, num_heads: int | None = None, head_width: int | None = None, component: str = "unet"
) -> UNetConfig:
    """The U-Net's configuration. `num_heads` or `head_width` is the family's own; a config.json beside it wins.

    Raises BadModelFile where shapes and names cannot belong to one network.
    """
    part = match.part(component)
    blocks, depth, up_depth = _items(part, "blocks"), _items(part, "depth"), _items(part, "up_depth")
    first = _items(part, "first")
    width = part.dim("input_blocks.0.0.weight", 0)
    out = [part.dim(f"input_blocks.{at}.0.out_layers.3.weight", 0) for at in first]
    if any(channels % width for channels in out) or width < 1:
        raise BadModelFile(f"The U-Net's levels have {out} channels, which are no multiples of its {width}.")
    heads, per_head = _heads(settings_of(match, component), out, num_heads, head_width)
    added = part.sizes.get("added", 0) or part.sizes.get("projected", 0)
    linear = len(part.shapes.get(_projection(part), (0, 0, 0, 0))) == 2
    return UNetConfig(
        in_channels=part.dim("input_blocks.0.0.weight", 1),
        out_channels=part.dim("out.2.weight", 0),
        model_channels=width,
        channel_mult=tuple(channels // width for channels in out),
        num_res_blocks=blocks,
        transformer_depth=depth,
        transformer_depth_middle=_number(part, "middle"),
        transformer_depth_output=tuple(reversed(up_depth)),
        context_dim=_context(part),
        num_heads=heads,
        head_width=per_head,
        linear_projections=linear,
        adm_in_channels=part.dim("label_emb.0.0.weight", 1) if added else None,
        num_classes=part.dim("label_emb.weight", 0) if part.sizes.get("classes") else None,
        disable_self_attention=_cross_only(part),
    )


def _number(part: PartMatch, name: str) -> int:
    return cast(int, part.sizes[name])


def _items(part: PartMatch, name: str) -> tuple[int, ...]:
    return cast(tuple[int, ...], part.sizes[name])


def _transformers(part: PartMatch) -> list[str]:
    """Our names of the first transformer of every level that has one, and of the middle."""
    depth, first = _items(part, "depth"), _items(part, "first")
    names = [f"input_blocks.{at}.1" for at, count in zip(first, depth, strict=True) if count]
    return names + ["middle_block.1"] * _number(part, "mid")


def _projection(part: PartMatch) -> str:
    return next((f"{name}.proj_in.weight" for name in _transformers(part)), "")


def _context(part: PartMatch) -> int:
    names = _transformers(part)
    if not names:
        raise BadModelFile("The U-Net has no cross-attention, so it cannot follow a prompt.")
    return part.dim(f"{names[-1]}.transformer_blocks.0.attn2.to_k.weight", 1)


def _cross_only(part: PartMatch) -> tuple[bool, ...] | None:
    """Levels whose first attention looks at the text: its keys are as wide as the text. None if there is none."""
    context = _context(part)
    flags: list[bool] = []
    for at, depth in zip(_items(part, "first"), _items(part, "depth"), strict=True):
        name = f"input_blocks.{at}.1.transformer_blocks.0.attn1"
        inner = part.dim(f"{name}.to_k.weight", 1) if depth else 0
        flags.append(bool(depth) and inner == context and inner != part.dim(f"{name}.to_q.weight", 1))
    return tuple(flags) if any(flags) else None


def _heads(
    settings: Settings, channels: list[int], num_heads: int | None, head_width: int | None
) -> tuple[int | None, int | None]:
    """Heads per level or their width. A folder's `attention_head_dim` counts heads, whatever its name says."""
    key = "num_attention_heads" if settings.values.get("num_attention_heads") is not None else "attention_head_dim"
    if not settings.is_list(key):
        count = settings.integer(key)
        return (num_heads, head_width) if count is None else (count, None)
    counts = list(settings.integers(key, low=1) or ())
    if len(counts) == len(channels):
        widths = {wide // count for wide, count in zip(channels, counts, strict=True)}
        if len(widths) == 1:
            return None, widths.pop()
        if len(set(counts)) == 1:
            return counts[0], None
    raise BadModelFile(f"{settings.source}: {key} {counts} does not fit levels of {channels} channels.")


def vae_config(match: Match, *, component: str = "vae") -> VaeConfig | None:
    """The VAE's configuration from its shapes; None where the file has no VAE."""
    part = match.parts.get(component)
    if part is None:
        return None
    width = part.dim("encoder.conv_in.weight", 0)
    out = [part.dim(f"encoder.down.{level}.block.0.conv2.weight", 0) for level in range(_number(part, "levels"))]
    if width < 1 or any(channels % width for channels in out):
        raise BadModelFile(f"The VAE's levels have {out} channels, which are no multiples of its {width}.")
    z, moments = part.dim("decoder.conv_in.weight", 1), part.dim("encoder.conv_out.weight", 0)
    if moments not in (z, 2 * z):
        raise BadModelFile(f"The VAE's encoder gives {moments} channels for a latent of {z}; expected {2 * z}.")
    return VaeConfig(
        in_channels=part.dim("encoder.conv_in.weight", 1),
        out_channels=part.dim("decoder.conv_out.weight", 0),
        z_channels=z,
        channels=width,
        channel_mult=tuple(channels // width for channels in out),
        num_res_blocks=_number(part, "blocks"),
        double_z=moments == 2 * z,
        mid_attention=bool(part.sizes["attention"]),
    )


def clip_config(
    match: Match,
    *,
    activation: Literal["quick_gelu", "gelu"],
    pad_id: int | None = None,
    component: str = "text_encoder",
) -> ClipTextConfig | None:
    """A text encoder's configuration; None where the file has none.

    Heads are 64 wide and the last two token numbers start and end a text, as in every CLIP; `pad_id` None pads with
    the end. A config.json beside it wins for the activation and the number of heads.
    """
    part = match.parts.get(component)
    if part is None:
        return None
    settings = settings_of(match, component)
    vocab, width = (part.dim("text_model.embeddings.token_embedding.weight", axis) for axis in (0, 1))
    heads = settings.integer("num_attention_heads") or max(1, width // 64)
    if width % heads:
        raise BadModelFile(f"A text encoder {width} wide cannot have {heads} heads.")
    named = settings.text("hidden_act")
    if named not in (None, "quick_gelu", "gelu"):
        raise BadModelFile(f"{settings.source}: hidden_act {named!r} is unknown; known: quick_gelu, gelu.")
    return ClipTextConfig(
        vocab_size=vocab,
        width=width,
        intermediate=part.dim("text_model.encoder.layers.0.mlp.fc1.weight", 0),
        layers=_number(part, "layers"),
        heads=heads,
        positions=part.dim("text_model.embeddings.position_embedding.weight", 0),
        activation=named or activation,
        projection=part.dim("text_projection.weight", 0) if part.sizes["projection"] else None,
        bos_id=vocab - 2,
        eos_id=vocab - 1,
        pad_id=vocab - 1 if pad_id is None else pad_id,
    )
