"""Pictures in and out: any file a person may have, as RGB of the size that is painted."""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from pinxit.schema.errors import BadImage, Missing
from pinxit.schema.request import Fit, ImageRef, Size

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF")
"""What is read; other formats of Pillow's are rare in honest files, and one of them starts a foreign program."""
LARGEST_FILE = 64 * 1024 * 1024
LARGEST_PICTURE = 32_000_000
"""Most pixels that an input picture may have."""


def read_picture(path: Path) -> tuple[ImageRef, bytes]:
    """The file at `path` and the reference by which a recipe names it. Raises Missing or BadImage."""
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise BadImage(
                f"{path.name} has {size:,} bytes; a picture file may have {LARGEST_FILE:,}.",
                hint="Save it smaller.",
                field="source",
            )
        data = path.read_bytes()
    except OSError as error:
        raise Missing(
            f"The picture {path} cannot be read: {error.strerror}.", hint="Check the path.", field="source"
        ) from error
    return ImageRef(sha256=hashlib.sha256(data).hexdigest(), name=path.name), data


def open_picture(data: bytes, *, name: str = "the picture") -> Image.Image:
    """Decode `data` to RGB, upright, the first frame, transparency over white. Raises BadImage.

    Sixteen-bit greys are scaled, palettes and CMYK converted; a picture of more than `LARGEST_PICTURE` pixels is
    refused before it is decoded.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
                width, height = opened.size
                if width * height > LARGEST_PICTURE:
                    raise BadImage(
                        f"{name} has {width} x {height} pixels; at most {LARGEST_PICTURE:,} are read.",
                        hint="Make it smaller first.",
                        field="source",
                    )
                upright = ImageOps.exif_transpose(opened)
                return _rgb(upright)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, BadImage):
            raise
        raise BadImage(
            f"{name} cannot be read as a picture: it is damaged or of an unknown format.",
            hint="Save it as PNG or JPEG.",
            field="source",
        ) from error


def _rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB of any mode; what is transparent becomes white."""
    import numpy as np
    from PIL import Image

    if image.mode in ("I;16", "I;16L", "I;16B", "I;16N", "I"):
        grey = np.asarray(image, dtype=np.float64)
        scale = 255 / 65535 if image.mode != "I" or grey.max(initial=0) > 255 else 1.0
        return Image.fromarray((grey * scale).clip(0, 255).round().astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        grey = np.asarray(image, dtype=np.float64)
        scale = 255.0 if grey.max(initial=0.0) <= 1.0 else 1.0
        return Image.fromarray((np.nan_to_num(grey) * scale).clip(0, 255).round().astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def fitted(image: Image.Image, size: Size, fit: Fit) -> Image.Image:
    """`image` at exactly `size`: `crop` fills and cuts evenly, `resize` stretches, `pad` fits inside white borders."""
    from PIL import Image, ImageOps

    target = (size.width, size.height)
    if image.size == target:
        return image
    if fit == "resize":
        return image.resize(target, Image.Resampling.LANCZOS)
    if fit == "pad":
        scale = min(size.width / image.width, size.height / image.height)
        # A picture far longer than wide keeps one pixel of its short side.
        inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        white = Image.new("RGB", target, (255, 255, 255))
        corner = ((size.width - inner[0]) // 2, (size.height - inner[1]) // 2)
        white.paste(image.resize(inner, Image.Resampling.LANCZOS), corner)
        return white
    return ImageOps.fit(image, target, Image.Resampling.LANCZOS)


def to_tensor(image: Image.Image) -> Tensor:
    """RGB picture to float32 [1,3,H,W] in -1..1."""
    import numpy as np
    import torch

    pixels = torch.from_numpy(np.array(image, dtype=np.uint8))
    return pixels.permute(2, 0, 1)[None].float().div(127.5).sub(1)


def to_image(picture: Tensor) -> Image.Image:
    """One picture [3,H,W] in -1..1 (clamped) to 8-bit RGB."""
    import torch
    from PIL import Image

    pixels = picture.float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().cpu().numpy())
