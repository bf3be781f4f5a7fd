"""How the page looks in a real browser: themes, widths, contrast, names, pictures.

KERNELKIT_SCREENSHOTS names a folder to keep pictures in, for people to look at.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import headless
import pytest

PHONE = 390


# The texts whose contrast with what lies behind them is below AA, in the current theme.
LOW_CONTRAST = r"""
(() => {
  const parse = (text) => (text.match(/[\d.]+/g) || []).map(Number);
  const light = (c) => {
    const [r, g, b] = c.slice(0, 3).map((v) => {
      v /= 255;
      return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  const ratio = (a, b) => {
    const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05);
  };
  const found = [];
  for (const e of document.querySelectorAll("body *")) {
    const svg = e instanceof SVGElement, style = getComputedStyle(e), css = e.getAttribute("class");
    const texts = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    const shape = svg && ["path", "rect"].includes(e.tagName) && !/grid/.test(css);
    if (!(texts || shape) || ["title", "desc", "script"].includes(e.tagName)) continue;
    const paint = !svg ? style.color : style.fill !== "none" ? style.fill : style.stroke;
    const value = ratio(parse(paint), behind(svg ? e.closest("svg").parentElement : e));
    if (value < (shape ? 3 : 4.5)) found.push([e.tagName, css, e.textContent, value]);
  }
  return found;
})()
"""


def test_the_theme_follows_the_system_and_the_button(shown: headless.Browser, page: Path) -> None:
    def dark() -> bool:
        colour = shown.value("getComputedStyle(document.body).backgroundColor")
        return colour == "rgb(17, 22, 29)"

    press = "document.querySelector('button.theme').click()"
    assert not dark()
    shown.screen(1280, dark=True)
    assert dark()
    shown.value(press)
    assert (shown.value("document.querySelector('button.theme').textContent"), dark()) == (
        "Theme: light", False,
    )  # fmt: skip
    shown.screen(1280)
    shown.value(press)
    assert dark()
    shown.open(page)
    assert dark()  # it is remembered
    shown.value(press)
    assert not dark()


@pytest.mark.parametrize("width", [320, PHONE, 800, 1280])
def test_no_page_is_wider_than_the_screen(shown: headless.Browser, page: Path, width: int) -> None:
    shown.screen(width)
    shown.open(page)
    shown.value("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    for part in (".group", "#results"):  # what is not on the screen is not laid out
        shown.value(f"document.querySelector({part!r}).scrollIntoView()")
        shown.value("new Promise((f) => requestAnimationFrame(() => requestAnimationFrame(f)))")
        assert shown.value("document.documentElement.scrollWidth") <= width
    box = shown.value(
        "(() => { const b = document.querySelector('#results').parentElement;"
        "return [b.scrollWidth, b.clientWidth, getComputedStyle(b).overflowX]; })()"
    )
    assert box[0] > box[1] and box[2] == "auto"  # the table scrolls in its box
    smallest = shown.value(
        "Math.min(...[...document.querySelectorAll('figure > svg text')]"
        ".map((t) => t.getBoundingClientRect().height).filter(Boolean))"
    )
    assert smallest > 8, "text of a plot is too small to read"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_contrast_is_enough(shown: headless.Browser, page: Path, dark: bool) -> None:
    shown.screen(1280, dark=dark)
    shown.open(page)
    assert shown.value(LOW_CONTRAST) == []


def test_the_contrast_check_sees_low_contrast(shown: headless.Browser) -> None:
    shown.value("document.querySelector('.sub').style.setProperty('color', '#aaa')")
    assert [found[1] for found in shown.value(LOW_CONTRAST)] == ["sub"]


def test_the_accessibility_tree_has_names(shown: headless.Browser) -> None:
    deadline = time.monotonic() + 20
    while not _has_plot(named := _names_by_role(shown)) and time.monotonic() < deadline:
        time.sleep(0.2)  # the tree is made behind the page, late on a busy machine
    for role in ("main", "navigation", "search", "banner", "contentinfo"):
        assert len(named[role]) == 1, role
    for role in ("table", "region", "button", "searchbox", "combobox", "link"):
        assert named[role] and all(named[role]), role
    assert _has_plot(named)


def _has_plot(named: dict[str, list[str]]) -> bool:
    return any("Latency against workload size" in name for name in named.get("image", ()))


def _names_by_role(shown: headless.Browser) -> dict[str, list[str]]:
    named: dict[str, list[str]] = {}
    for node in shown.send("Accessibility.getFullAXTree")["nodes"]:
        if not node.get("ignored"):
            role = node.get("role", {}).get("value", "")
            named.setdefault(role, []).append(node.get("name", {}).get("value", ""))
    return named


def test_pictures_are_not_blank(shown: headless.Browser, page: Path, tmp_path: Path) -> None:
    kept = Path(os.environ.get("KERNELKIT_SCREENSHOTS", tmp_path))
    kept.mkdir(parents=True, exist_ok=True)
    sizes = {}
    for name, width, dark in (
        ("light", 1280, False),
        ("dark", 1280, True),
        ("phone", PHONE, False),
    ):
        shown.screen(width, dark=dark)
        shown.open(page)
        path = kept / f"report-{name}.png"
        shown.picture(path, whole=True)
        sizes[name] = path.read_bytes()
        assert len(sizes[name]) > 50_000
    assert sizes["light"] != sizes["dark"]
