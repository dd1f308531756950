"""Manifests of single network files derived from stated sizes, where nobody wrote their names and shapes down."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.reference import golden_json

Shapes = dict[str, tuple[int, ...]]


def convolution(name: str, out: int, into: int, *, side: int = 3, bias: bool = True) -> Shapes:
    return {f"{name}.weight": (out, into, side, side), **({f"{name}.bias": (out,)} if bias else {})}


def linear(name: str, out: int, into: int, *, bias: bool = True) -> Shapes:
    return {f"{name}.weight": (out, into), **({f"{name}.bias": (out,)} if bias else {})}


def norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def tiny_encoder(prefix: str, latent: int) -> Shapes:
    """TAESD's encoder: layers 0 to 14; blocks at 1, 3 to 5, 7 to 9 and 11 to 13, halving at 2, 6 and 10."""
    shapes = convolution(f"{prefix}0", 64, 3)
    for at in range(1, 14):
        if at in (2, 6, 10):
            shapes |= convolution(f"{prefix}{at}", 64, 64, bias=False)
        else:
            for inner in (0, 2, 4):
                shapes |= convolution(f"{prefix}{at}.conv.{inner}", 64, 64)
    return shapes | convolution(f"{prefix}14", latent, 64)


def tiny_decoder(prefix: str, latent: int, *, clamp: int = 1) -> Shapes:
    """TAESD's decoder: blocks at 3 to 5, 8 to 10, 13 to 15 and 18, doubled at 6, 11 and 16, then convolved."""
    shapes = convolution(f"{prefix}{clamp}", 64, latent)
    for at in range(3, 19):
        where = f"{prefix}{at - 1 + clamp}"
        if at in (7, 12, 17):
            shapes |= convolution(where, 64, 64, bias=False)
        elif at not in (6, 11, 16):
            for inner in (0, 2, 4):
                shapes |= convolution(f"{where}.conv.{inner}", 64, 64)
    return shapes | convolution(f"{prefix}{18 + clamp}", 3, 64)


def tiny_diffusers(latent: int) -> Shapes:
    return tiny_encoder("encoder.layers.", latent) | tiny_decoder("decoder.layers.", latent, clamp=0)


def tiny(encoder: str, decoder: str, latent: int = 4) -> Shapes:
    return tiny_encoder(encoder, latent) | tiny_decoder(decoder, latent)


def component(folder: str, part: str) -> Shapes:
    """One part of a diffusers folder."""
    tensors = golden_json(f"manifests/diffusers/{folder}.json")["components"][part]["tensors"]
    return {name: tuple(shape) for name, shape in tensors.items()}


def table(path: str) -> Shapes:
    return {name: tuple(shape) for name, shape in golden_json(f"manifests/{path}.json")["tensors"].items()}


def t2i_diffusers(name: str) -> Shapes:
    """The rule of the golden t2i_adapter_sd15: two blocks to a level, grouped and counted anew."""

    def renamed(key: str) -> str:
        body, _, rest = key.partition(".")
        if body != "body":
            return f"adapter.{key}"
        number, _, leaf = rest.partition(".")
        level, block = divmod(int(number), 2)
        return (
            f"adapter.body.{level}.{leaf}"
            if leaf.startswith("in_conv")
            else (f"adapter.body.{level}.resnets.{block}.{leaf}")
        )

    return {renamed(key): shape for key, shape in table(f"t2iadapter/{name}").items()}


def t2i_light(group: str, prefix: str) -> Shapes:
    """The colour adapter: levels of four narrow blocks between two 1x1 convolutions."""
    shapes: Shapes = {}
    before = 192
    for level, width in enumerate((320, 640, 1280, 1280)):
        at = f"{prefix}body.{level}"
        shapes |= convolution(f"{at}.in_conv", width // 4, before, side=1)
        for block in range(4):
            for name in ("block1", "block2"):
                shapes |= convolution(f"{at}.{group}.{block}.{name}", width // 4, width // 4)
        shapes |= convolution(f"{at}.out_conv", width, width // 4, side=1)
        before = width
    return shapes


def attentions(name: str) -> Shapes:
    return {key: shape for key, shape in table(f"ipadapter/{name}").items() if key.startswith("ip_adapter.")}


def ip_plus() -> Shapes:
    """IP-Adapter plus for SD 1.5: 16 queries, four layers of 12 heads, reading the patches of CLIP H."""
    shapes: Shapes = {"image_proj.latents": (1, 16, 768), **attentions("ip-adapter_sd15")}
    shapes |= linear("image_proj.proj_in", 768, 1280) | linear("image_proj.proj_out", 768, 768)
    shapes |= norm("image_proj.norm_out", 768)
    for number in range(4):
        look, think = f"image_proj.layers.{number}.0", f"image_proj.layers.{number}.1"
        shapes |= norm(f"{look}.norm1", 768) | norm(f"{look}.norm2", 768) | norm(f"{think}.0", 768)
        shapes |= linear(f"{look}.to_q", 768, 768, bias=False) | linear(f"{look}.to_kv", 1536, 768, bias=False)
        shapes |= linear(f"{look}.to_out", 768, 768, bias=False)
        shapes |= linear(f"{think}.1", 3072, 768, bias=False) | linear(f"{think}.3", 768, 3072, bias=False)
    return shapes


def ip_full() -> Shapes:
    """IP-Adapter full face for SD 1.5."""
    shapes = attentions("ip-adapter_sd15") | linear("image_proj.proj.0", 1280, 1280)
    return shapes | linear("image_proj.proj.2", 768, 1280) | norm("image_proj.proj.3", 768)


def ip_face() -> Shapes:
    """IP-Adapter face identity for SD 1.5: LoRAs of rank 128 on every attention, the odd ones reading the text."""
    shapes = attentions("ip-adapter_sd15")
    widths = {key.split(".")[1]: shape[0] for key, shape in shapes.items() if key.endswith("to_k_ip.weight")}
    for number in range(2 * len(widths)):
        wide = widths[str(number | 1)]
        for name in ("to_q", "to_k", "to_v", "to_out"):
            reads = 768 if number % 2 and name in ("to_k", "to_v") else wide
            at = f"ip_adapter.{number}.{name}_lora"
            shapes |= linear(f"{at}.down", 128, reads, bias=False) | linear(f"{at}.up", wide, 128, bias=False)
    shapes |= linear("image_proj.proj.0", 1024, 512) | linear("image_proj.proj.2", 4 * 768, 1024)
    return shapes | norm("image_proj.norm", 768)


def upscaler_x2_old() -> Shapes:
    """ESRGAN's earlier names where the size is doubled once: the last layers have other numbers."""
    moved = {"model.3": "model.3", "model.8": "model.5", "model.10": "model.7"}
    shapes: Shapes = {}
    for key, shape in table("upscalers/esrgan-x4-oldkeys").items():
        stem, _, leaf = key.rpartition(".")
        if stem == "model.6":
            continue
        shapes[f"{moved.get(stem, stem)}.{leaf}"] = shape
    return shapes


def openclip_vision() -> Shapes:
    """CLIP H's image tower in OpenCLIP's names, from those of Hugging Face, with a stretch of its text half."""
    shapes: Shapes = {"logit_scale": (), "transformer.resblocks.0.ln_1.weight": (1024,), "ln_final.bias": (1024,)}
    names = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
    for key, shape in table("diffusers/clip-vision-h").items():
        name = key.replace("vision_model.encoder.layers.", "transformer.resblocks.")
        name = name.replace("vision_model.embeddings.position_embedding.weight", "positional_embedding")
        name = name.replace("vision_model.embeddings.class_embedding", "class_embedding")
        name = name.replace("vision_model.embeddings.patch_embedding", "conv1")
        name = name.replace("vision_model.pre_layrnorm", "ln_pre").replace("vision_model.post_layernorm", "ln_post")
        for theirs, opens in names.items():
            name = name.replace(theirs, opens)
        name = name.replace("self_attn.out_proj", "attn.out_proj").replace("visual_projection.weight", "proj")
        if ".self_attn.k_proj." in name or ".self_attn.v_proj." in name:
            continue
        if ".self_attn.q_proj." in name:
            name = name.replace("self_attn.q_proj.", "attn.in_proj_")
            shape = (3 * shape[0], *shape[1:])
        shapes[f"visual.{name}"] = shape[::-1] if name == "proj" else shape
    return shapes


DERIVED: Mapping[str, Callable[[], Shapes]] = {
    "taesd": lambda: tiny("encoder.", "decoder."),
    "taesdxl": lambda: tiny("taesd_encoder.", "taesd_decoder."),
    "taesd3": lambda: tiny_diffusers(16),
    "tiny-diffusers": lambda: tiny_diffusers(4),
    "taesd_encoder": lambda: tiny_encoder("", 4),
    "taesd3_decoder": lambda: tiny_decoder("", 16),
    "vae-prefixed": lambda: {
        f"first_stage_model.{name}": shape for name, shape in table("singlefile/vae-kl-f8").items()
    },
    "sdxl_vae": lambda: table("singlefile/vae-kl-f8"),
    "t2i-diffusers": lambda: t2i_diffusers("t2iadapter-sd15-1ch"),
    "t2i-light": lambda: t2i_light("body", ""),
    "t2i-light-diffusers": lambda: t2i_light("resnets", "adapter."),
    "t2i-prefixed": lambda: {f"adapter.{key}": shape for key, shape in table("t2iadapter/t2iadapter-sdxl").items()},
    "ip-adapter-plus": ip_plus,
    "ip-adapter-full": ip_full,
    "ip-adapter-face": ip_face,
    "esrgan-x2-old": upscaler_x2_old,
    "real-esrgan-wrapped": lambda: {
        f"params_ema.{key}": shape for key, shape in table("upscalers/realesrgan-x4plus").items()
    },
    "clip-vision-openclip": openclip_vision,
}
"""Names and shapes of a file by the stem of its name."""
