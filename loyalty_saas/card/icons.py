"""Icons of the card: the house's logo on white, or its initials on its colour."""

import io
from functools import lru_cache
from math import cos, sin, tau
from typing import Final

from django.contrib.staticfiles import finders
from PIL import Image, ImageDraw, ImageFont

from loyalty_saas.branding import BLACK, LIGHT_GROUND, WHITE, Colour, colour_of, mixed, readable

PLAIN, MASKABLE, TOUCH = "any", "maskable", "touch"
LOGO_SHARE: Final = {PLAIN: 0.72, MASKABLE: 0.56, TOUCH: 0.7}
"""How much of the icon's width a logo takes; of a maskable one the system may cut all but the middle 80 % off."""
LETTER_SHARE: Final = {PLAIN: 0.44, MASKABLE: 0.36, TOUCH: 0.44}
CORNER: Final = 0.22
FINER: Final = 4
FONT: Final = "fonts/inter-latin-wght-normal.woff2"
SEMI_BOLD: Final = 650


@lru_cache(maxsize=256)
def draw(*, kind: str, size: int, accent: str, letters: str, logo: bytes | None) -> bytes:
    """An icon as PNG; a plain one with round corners, the others to the edge."""
    edge = size * FINER
    picture = _with_logo(logo, kind=kind, edge=edge) if logo else _with_letters(letters, accent, kind=kind, edge=edge)
    if kind == PLAIN:
        picture.putalpha(_round(edge))
    drawn = io.BytesIO()
    picture.resize((size, size), Image.Resampling.LANCZOS).save(drawn, "PNG", optimize=True)
    return drawn.getvalue()


def _with_logo(logo: bytes, *, kind: str, edge: int) -> Image.Image:
    ground = Image.new("RGBA", (edge, edge), WHITE)
    with Image.open(io.BytesIO(logo), formats=("PNG",)) as opened:
        picture = opened.convert("RGBA")
    room = edge * LOGO_SHARE[kind]
    share = room / max(picture.size)
    picture = picture.resize(
        (max(1, round(picture.width * share)), max(1, round(picture.height * share))), Image.Resampling.LANCZOS
    )
    ground.alpha_composite(picture, ((edge - picture.width) // 2, (edge - picture.height) // 2))
    return ground


def _with_letters(letters: str, accent: str, *, kind: str, edge: int) -> Image.Image:
    colour = readable(colour_of(accent), on=LIGHT_GROUND)
    ground = _shaded(colour, edge)
    font = _font(round(edge * LETTER_SHARE[kind] * (1 if len(letters) < 3 else 0.8)))
    pen = ImageDraw.Draw(ground)
    if not letters or not _can_write(font, letters):
        _heart(pen, edge=edge, share=LETTER_SHARE[kind])
        return ground
    start, top, end, bottom = pen.textbbox((0, 0), letters, font=font)
    pen.text(((edge - start - end) / 2, (edge - top - bottom) / 2), letters, font=font, fill=WHITE)
    return ground


def _shaded(colour: Colour, edge: int) -> Image.Image:
    """The colour, a little darker towards the lower end."""
    deep = mixed(colour, BLACK, part=0.22)
    column = Image.new("RGB", (1, 64))
    column.putdata([mixed(colour, deep, part=step / 63) for step in range(64)])
    return column.resize((edge, edge), Image.Resampling.BICUBIC).convert("RGBA")


def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.truetype(str(finders.find(FONT)), size)
    font.set_variation_by_axes([SEMI_BOLD])
    return font


def _can_write(font: ImageFont.FreeTypeFont, letters: str) -> bool:
    """Whether the typeface has the letters: one that has not draws the same box for each."""
    nothing = bytes(font.getmask("\uffff"))
    return all(bytes(font.getmask(letter)) != nothing for letter in letters)


def _heart(pen: ImageDraw.ImageDraw, *, edge: int, share: float) -> None:
    """A heart, for names in scripts that the typeface does not have."""
    step, turns = edge * share / 32, [place * tau / 240 for place in range(240)]
    outline = [
        (
            edge / 2 + step * 16 * sin(t) ** 3,
            edge / 2 - step * (13 * cos(t) - 5 * cos(2 * t) - 2 * cos(3 * t) - cos(4 * t) + 2.5),
        )
        for t in turns
    ]
    pen.polygon(outline, fill=WHITE)


def _round(edge: int) -> Image.Image:
    mask = Image.new("L", (edge, edge), 0)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, edge - 1, edge - 1), radius=round(edge * CORNER), fill=255)
    return mask
