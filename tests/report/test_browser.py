"""Reports in headless Chromium: on a phone and on a screen, light and dark."""

import html
import json
import re
import shutil
import subprocess

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
WIDTHS = (390, 1280)

# Measures every frame: what is wider than the page, text outside its figure, colours.
SCRIPT = """
addEventListener("load", () => {
  const found = [...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument, root = page.documentElement;
    const figures = [...page.querySelectorAll("figure svg")].map(svg => {
      const box = svg.getBoundingClientRect();
      const outside = [...svg.querySelectorAll("text")].filter(text => {
        const own = text.getBoundingClientRect();
        const across = own.left < box.left - 3 || own.right > box.right + 3;
        return across || own.top < box.top - 3 || own.bottom > box.bottom + 3;
      });
      return {
        name: svg.querySelector("title").textContent, width: box.width, height: box.height,
        outside: outside.map(text => text.textContent),
        font: Math.min(...[...svg.querySelectorAll("text")].map(text => text.getBoundingClientRect().height)),
      };
    });
    const style = element => frame.contentWindow.getComputedStyle(element);
    return {
      width: root.clientWidth, needed: root.scrollWidth, figures,
      page: style(page.body).backgroundColor, text: style(page.body).color,
      label: style(page.querySelector("figure svg text")).fill,
    };
  });
  document.body.innerHTML = "<pre id=found></pre>";
  document.getElementById("found").textContent = JSON.stringify(found);
});
"""


def luminance(colour):
    """The relative luminance of a CSS colour (WCAG 2)."""
    channels = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(a, b):
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_reports_fit_every_screen_and_read_well(pages, tmp_path, dark):
    shown = [pages[name] for name in ("run", "runs", "comparison")]
    frames = [
        f'<iframe style="width:{width}px;height:900px;border:0" srcdoc="{html.escape(page)}"></iframe>'
        for _, page in shown
        for width in WIDTHS
    ]
    meta = '<!doctype html><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
    file = tmp_path / "frames.html"
    file.write_text(f"{meta}<body>{''.join(frames)}<script>{SCRIPT}</script>", encoding="utf-8")
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={tmp_path}/profile"]
    command = [CHROMIUM, *flags, "--enable-logging=stderr", scheme, "--dump-dom", file.as_uri()]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert [line for line in result.stderr.splitlines() if "CONSOLE" in line] == []
    text = re.search(r'<pre id="found">(.*?)</pre>', result.stdout, re.S)[1]
    found = json.loads(html.unescape(text))
    expected = [(width, page) for page, _ in shown for width in WIDTHS]
    for frame, (width, page) in zip(found, expected, strict=True):
        assert frame["width"] == frame["needed"] == width
        assert [figure["name"] for figure in frame["figures"]] == [plot.title for plot in page.plots]
        for figure in frame["figures"]:
            assert figure["width"] > 280
            assert figure["height"] > 100
            assert figure["outside"] == []
            assert figure["font"] > 9
        assert (luminance(frame["page"]) < 0.2) == dark
        assert contrast(frame["text"], frame["page"]) > 7
        assert contrast(frame["label"], frame["page"]) > 7
