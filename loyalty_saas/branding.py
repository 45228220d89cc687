"""How a house's pages look: tokens checked for contrast and written as a style sheet of ours, a logo drawn anew."""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe
from PIL import ExifTags, Image, UnidentifiedImageError

from tenants.access import Actor, admits
from tenants.models import Brand, Client, Provider
from tenants.queries import ForAMoment

Colour = tuple[int, int, int]
WHITE: Final[Colour] = (255, 255, 255)
BLACK: Final[Colour] = (0, 0, 0)
LIGHT_GROUND: Final[Colour] = (246, 247, 249)
DARK_CARD: Final[Colour] = (28, 36, 50)
DARK_GROUND: Final[Colour] = (13, 17, 25)
READABLE: Final = 4.6
"""A little above WCAG 2.2, 1.4.3 (4.5:1), for rounding."""
LOGO_EDGE: Final = 256
LOGO_BYTES: Final = 5 * 1024 * 1024
LOGO_PIXELS: Final = 16_000_000
TYPEFACES: Final = {
    Brand.Typeface.SYSTEM: 'ui-sans-serif, system-ui, -apple-system, "Segoe UI", "Noto Sans", sans-serif',
    Brand.Typeface.SERIF: 'ui-serif, Georgia, "Noto Serif", "Times New Roman", serif',
}
CORNERS: Final = {Brand.Corners.ROUND: ("1.5rem", "0.875rem"), Brand.Corners.SQUARE: ("0.25rem", "0.125rem")}

_BROKEN: Final = (
    UnidentifiedImageError, OSError, ValueError, SyntaxError, TypeError, struct.error, Image.DecompressionBombError,
)  # fmt: skip
"""What Pillow says of a file that is no picture, or one with something wrong in it."""
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How to set upright what a camera held another way. (EXIF 2.3, Orientation)"""


class LogoRefused(ValueError):
    """The upload is no picture that can be a logo; the text says why."""


@dataclass(frozen=True)
class Look:
    """What a page needs of a brand: addresses that change when it changes."""

    brand_id: UUID | None = None
    version: int = 0
    has_logo: bool = False
    has_tokens: bool = False
    accent: str = ""

    @property
    def css_url(self) -> str:
        """The address of the tokens."""
        return reverse("brand:tokens", args=[self.brand_id, self.version]) if self.has_tokens else ""

    @property
    def logo_url(self) -> str:
        """The address of the logo, or nothing."""
        return reverse("brand:logo", args=[self.brand_id, self.version]) if self.has_logo else ""


PLAIN: Final = Look()


def look_of(*, client: Client | None, provider: Provider | None) -> Look:
    """The look of a client's pages, its provider's where it has none of its own; of a provider's; or the plain one."""
    if client is not None:
        return _looks((client.pk, client.provider_id))
    return _looks((None, provider.pk)) if provider else PLAIN


def _look(houses: tuple[UUID | None, UUID]) -> Look:
    client_id, provider_id = houses
    asked = Q(provider=provider_id) | (Q(client=client_id) if client_id else Q(pk=None))
    found = {bool(brand.client_id): brand for brand in Brand.objects.filter(asked)}
    brand = found.get(True) or found.get(False)
    if brand is None:
        return PLAIN
    return Look(
        brand_id=brand.pk,
        version=int(brand.changed_at.timestamp() * 1000),
        has_logo=brand.logo is not None,
        has_tokens=bool(brand.accent) or brand.typeface in TYPEFACES or brand.corners in CORNERS,
        accent=brand.accent,
    )


_looks: ForAMoment[tuple[UUID | None, UUID], Look] = ForAMoment(_look)


def change_brand(
    *,
    at: datetime,
    accent: str,
    typeface: str,
    corners: str,
    client: Client | None = None,
    provider: Provider | None = None,
    logo: bytes | None = None,
    drop_logo: bool = False,
) -> Brand:
    """Set the look of a provider or a client, in the caller's transaction; without `logo` the one there stays."""
    values: dict[str, Any] = {"accent": accent.lower(), "typeface": typeface, "corners": corners, "changed_at": at}
    if logo is not None or drop_logo:
        values["logo"] = logo
    brand, _new = Brand.objects.update_or_create(client=client, provider=provider, defaults=values)
    _looks.forget()
    return brand


def draw_logo(upload: Any) -> bytes:
    """
    An uploaded picture as a PNG of ours of at most 256 × 256 pixels, without anything else the file held.

    :raises LogoRefused: no PNG, JPEG or WebP, too heavy, or too large to open safely
    """
    if upload.size > LOGO_BYTES:
        raise LogoRefused(_("The picture is larger than 5 MB."))
    try:
        with Image.open(upload, formats=("PNG", "JPEG", "WEBP")) as picture:
            if picture.width * picture.height > LOGO_PIXELS:
                raise LogoRefused(_("The picture has more than 16 million pixels."))
            upright = _small(picture)
    except _BROKEN as broken:
        if isinstance(broken, LogoRefused):
            raise
        raise LogoRefused(_("This is not a picture we can read: use PNG, JPEG or WebP.")) from broken
    drawn = io.BytesIO()
    Image.frombytes("RGBA", upright.size, upright.tobytes()).save(drawn, "PNG", optimize=True)
    return drawn.getvalue()


def _small(opened: Image.Image) -> Image.Image:
    """An opened picture upright and within the edge, made small first: a large one is never held twice if it can be."""
    turn = _TURNS.get(opened.getexif().get(ExifTags.Base.Orientation, 1))
    whole = opened.convert("RGBA") if opened.mode in {"1", "P"} or "transparency" in opened.info else opened
    whole.thumbnail((LOGO_EDGE, LOGO_EDGE))
    small = whole.convert("RGBA")
    return small if turn is None else small.transpose(turn)


def contrast(one: Colour, other: Colour) -> float:
    """The contrast ratio of two colours, 1 to 21. (WCAG 2.2, relative luminance)"""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def colour_of(text: str) -> Colour:
    """``#0f766e`` as red, green, blue."""
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def readable(colour: Colour, *, on: Colour) -> Colour:
    """The nearest shade of a colour that can be read on a ground: darker on a light one, lighter on a dark one."""
    towards = BLACK if _luminance(on) > 0.4 else WHITE
    shades = (mixed(colour, towards, part=step / 40) for step in range(41))
    return next(shade for shade in shades if contrast(shade, on) >= READABLE)


def mixed(one: Colour, other: Colour, *, part: float) -> Colour:
    """`part` of `other` in `one`."""
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(one, other, strict=True))
    return red, green, blue


def tokens(brand: Brand) -> str:
    """The brand as CSS custom properties for light and dark; nothing in it was written by the house itself."""
    lines = list(_shape(brand))
    if brand.accent:
        chosen = colour_of(brand.accent)
        light, dark = list(_light(chosen)), list(_dark(chosen))
        return f":root{{{''.join(lines + light)}}}@media (prefers-color-scheme:dark){{:root{{{''.join(dark)}}}}}\n"
    return f":root{{{''.join(lines)}}}\n"


@admits(Actor.ANYONE)
@require_safe
def tokens_css(request: HttpRequest, brand_id: UUID, version: int) -> HttpResponse:
    """The style sheet of a house's tokens."""
    return _kept(HttpResponse(tokens(_brand(request, brand_id)), content_type="text/css; charset=utf-8"))


@admits(Actor.ANYONE)
@require_safe
def logo_png(request: HttpRequest, brand_id: UUID, version: int) -> HttpResponse:
    """A house's logo."""
    drawn = _brand(request, brand_id).logo
    if drawn is None:
        raise Http404
    return _kept(HttpResponse(bytes(drawn), content_type="image/png"))


def _brand(request: HttpRequest, brand_id: UUID) -> Brand:
    """A brand that belongs on this host: the client's or its provider's, or on the platform's a provider's."""
    client: Client | None = request.client  # type: ignore[attr-defined]
    houses = Q(client=client.pk) | Q(provider=client.provider_id) if client else Q(client=None)
    brand = Brand.objects.filter(houses, pk=brand_id).first()
    if brand is None:
        raise Http404
    return brand


def _kept(response: HttpResponse) -> HttpResponse:
    response["Cache-Control"] = "public, max-age=31536000, immutable"
    return response


def _shape(brand: Brand) -> Iterator[str]:
    if typeface := TYPEFACES.get(Brand.Typeface(brand.typeface)):
        yield f"--typeface:{typeface};"
    if corners := CORNERS.get(Brand.Corners(brand.corners)):
        yield f"--corner:{corners[0]};--corner-small:{corners[1]};"


def _light(chosen: Colour) -> Iterator[str]:
    wash = mixed(chosen, WHITE, part=0.9)
    accent = readable(readable(chosen, on=LIGHT_GROUND), on=wash)
    yield f"--accent:{_hex(accent)};--accent-strong:{_hex(mixed(accent, BLACK, part=0.2))};"
    yield f"--on-accent:#ffffff;--accent-wash:{_hex(wash)};"


def _dark(chosen: Colour) -> Iterator[str]:
    wash = mixed(chosen, DARK_GROUND, part=0.75)
    accent = readable(readable(chosen, on=DARK_CARD), on=wash)
    yield f"--accent:{_hex(accent)};--accent-strong:{_hex(mixed(accent, WHITE, part=0.2))};"
    yield f"--on-accent:{_hex(DARK_GROUND)};--accent-wash:{_hex(wash)};"


def _luminance(colour: Colour) -> float:
    red, green, blue = (_linear(part / 255) for part in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else float(((part + 0.055) / 1.055) ** 2.4)


def _hex(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
