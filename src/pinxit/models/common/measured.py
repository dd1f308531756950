"""Network configurations from a file: sizes off the tables' axes and shapes, the rest from the part's config.json."""

from __future__ import annotations

from typing import Literal, cast

from pinxit.models.common.configs import ClipTextConfig, Depth, T5Config, UNetConfig, VaeConfig
from pinxit.schema.errors import BadModelFile
from pinxit.weights.identify import Match, PartMatch
from pinxit.weights.settings import Settings


def settings_of(match: Match, part: str, file: str = "config.json") -> Settings:
    """The JSON beside `part` in a folder, or in the folder of the part alone; empty for a single file."""
    configs = match.header.configs
    source = file if file in configs else f"{part}/{file}"
    return Settings(source=source, values=configs.get(source, {}))


def unet_config(
    match: Match, *, num_heads: int | None = None, head_width: int | None = None, component: str = "unet"
) -> UNetConfig:
    """The U-Net's configuration. `num_heads` or `head_width` is the family's own; a config.json beside it wins.

    A ControlNet is the way down of one: it has no output channels, and where it attends to no text either, a context of
    none. Raises BadModelFile where shapes and names cannot belong to one network.
    """
    part = match.part(component)
    blocks, first = _items(part, "blocks"), _items(part, "first")
    width = part.dim("input_blocks.0.0.weight", 0)
    out = [part.dim(f"input_blocks.{at}.0.out_layers.3.weight", 0) for at in first]
    if width < 1 or any(2 * channels % width for channels in out):
        raise BadModelFile(f"The U-Net's levels have {out} channels, which are no multiples of its {width}.")
    heads, per_head = _heads(settings_of(match, component), out, num_heads, head_width)
    added = part.sizes.get("added", 0) or part.sizes.get("projected", 0)
    return UNetConfig(
        in_channels=part.dim("input_blocks.0.0.weight", 1),
        out_channels=part.dim("out.2.weight", 0) if _items(part, "up_blocks") else 0,
        model_channels=width,
        channel_mult=tuple(channels / width if channels % width else channels // width for channels in out),
        num_res_blocks=blocks,
        transformer_depth=tuple(
            _level(_items(part, "depth"), at, count) for at, count in zip(first, blocks, strict=True)
        ),
        transformer_depth_middle=_number(part, "middle"),
        transformer_depth_output=tuple(
            _level(_items(part, "up_depth"), at, count)
            for at, count in reversed([*zip(_items(part, "up_first"), _items(part, "up_blocks"), strict=True)])
        ),
        context_dim=_context(part),
        num_heads=heads,
        head_width=per_head,
        linear_projections=any(len(part.shapes.get(f"{name}.proj_in.weight", ())) == 2 for name in _transformers(part)),
        adm_in_channels=part.dim("label_emb.0.0.weight", 1) if added else None,
        num_classes=part.dim("label_emb.weight", 0) if part.sizes.get("classes") else None,
        disable_self_attention=_cross_only(part),
        middle_blocks=_number(part, "middles"),
        guidance_dim=part.dim("time_embed.cond_proj.weight", 1) if part.sizes.get("guided") else None,
    )


def _level(depths: tuple[int, ...], first: int, count: int) -> Depth:
    """The depths of `count` blocks from `first`: one number where they are alike."""
    found = depths[first : first + count]
    return found[0] if len(set(found)) == 1 else found


def _number(part: PartMatch, name: str) -> int:
    return cast(int, part.sizes[name])


def _items(part: PartMatch, name: str) -> tuple[int, ...]:
    return cast(tuple[int, ...], part.sizes[name])


def _transformers(part: PartMatch) -> list[str]:
    """Our names of every transformer, the middle's last."""
    names = [f"input_blocks.{at}.1" for at, has in enumerate(_items(part, "has")) if has]
    names += [f"output_blocks.{at}.1" for at, has in enumerate(_items(part, "up_has")) if has]
    return names + ["middle_block.1"] * _number(part, "mid")


def _context(part: PartMatch) -> int:
    names = _transformers(part)
    if not names and not _items(part, "up_blocks"):
        return 0
    if not names:
        raise BadModelFile("The U-Net has no cross-attention, so it cannot follow a prompt.")
    return part.dim(f"{names[-1]}.transformer_blocks.0.attn2.to_k.weight", 1)


def _cross_only(part: PartMatch) -> tuple[bool, ...] | None:
    """Levels whose first attention looks at the text: its keys are as wide as the text. None if there is none."""
    context = _context(part)
    flags: list[bool] = []
    for at in _items(part, "first"):
        depth = _items(part, "depth")[at]
        name = f"input_blocks.{at}.1.transformer_blocks.0.attn1"
        inner = part.dim(f"{name}.to_k.weight", 1) if depth else 0
        flags.append(bool(depth) and inner == context and inner != part.dim(f"{name}.to_q.weight", 1))
    return tuple(flags) if any(flags) else None


def _heads(
    settings: Settings, channels: list[int], num_heads: int | None, head_width: int | None
) -> tuple[int | None, int | None]:
    """Heads per level or their width. A folder's `attention_head_dim` counts heads, whatever its name says.

    Where the family's own width does not divide the first level's, that level is taken to have two heads.
    """
    if head_width is not None and channels[0] % head_width and channels[0] % 2 == 0:
        head_width = channels[0] // 2
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
        quant=bool(part.sizes["quant"]),
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


def t5_config(match: Match, *, component: str) -> T5Config | None:
    """A T5 encoder's configuration; None where the file has none."""
    part = match.parts.get(component)
    if part is None:
        return None
    block = "encoder.block.0.layer"
    distances = f"{block}.0.SelfAttention.relative_attention_bias.weight"
    config = T5Config(
        vocab_size=part.dim("shared.weight", 0),
        width=part.dim("shared.weight", 1),
        intermediate=part.dim(f"{block}.1.DenseReluDense.wi_0.weight", 0),
        layers=cast(int, part.sizes["layers"]),
        heads=part.dim(distances, 1),
        inner=part.dim(f"{block}.0.SelfAttention.q.weight", 0),
        buckets=part.dim(distances, 0),
        distance=settings_of(match, component).integer("relative_attention_max_distance", high=2**16) or 128,
    )
    if not config.heads or config.inner % config.heads or config.buckets < 4 or config.distance <= config.buckets // 4:
        raise BadModelFile(
            f"T5 cannot have {config.heads} heads in {config.inner} channels, nor {config.buckets} kinds of distance "
            f"up to {config.distance}.",
            hint="Download the file again.",
        )
    return config
