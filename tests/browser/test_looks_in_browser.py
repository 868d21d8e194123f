"""What only a browser shows of how pages look and are named: for who sees little, or works by keyboard and voice."""

from __future__ import annotations

from conftest import Served
from steps import fuse_the_demo, settled

# What has no name that a screen reader could say, headings that skip a level, and text that is too faint on its own
# ground: [what, where].
FAULTS = """() => {
  const shown = e => e.checkVisibility({opacityProperty: true, visibilityProperty: true});
  const main = document.querySelector('[data-testid=stApp]');
  const all = selector => [...main.querySelectorAll(selector)].filter(shown);
  const text = id => document.getElementById(id)?.textContent ?? '';
  const named = e => (e.getAttribute('aria-label') || e.getAttribute('title') || e.textContent
    || (e.getAttribute('aria-labelledby') ?? '').split(' ').map(text).join('')
    || [...e.labels ?? []].map(l => l.textContent).join('') || e.querySelector('img')?.alt || '').trim();
  const faults = [];
  for (const e of all('button, a[href], input:not([type=hidden]), textarea, select, [role=combobox]'))
    if (!named(e) && e.getAttribute('tabindex') !== '-1') faults.push(['no name', e.outerHTML.slice(0, 200)]);
  for (const e of all('img')) if (!e.hasAttribute('alt')) faults.push(['no alt', e.outerHTML.slice(0, 200)]);
  let last = 0;
  for (const e of all('h1, h2, h3, h4')) {
    const level = Number(e.tagName[1]);
    if (level > last + 1) faults.push(['heading skips', e.textContent]);
    last = level;
  }
  const parts = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  for (const e of all('[data-tag-index] span, [data-testid=stCaptionContainer] p, [data-testid^=stBaseButton] p')) {
    if (e.closest('[disabled]') || !e.textContent.trim()) continue;
    let ground = e;
    const clear = n => (parts(getComputedStyle(n).backgroundColor)[3] ?? 1) < 1;
    while (ground.parentElement && clear(ground)) ground = ground.parentElement;
    const [a, b] = [e, ground].map((n, i) => light(parts(getComputedStyle(n)[i ? 'backgroundColor' : 'color'])));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) faults.push([`contrast ${ratio.toFixed(2)}`, e.textContent]);
  }
  return faults;
}"""
OVERLAPS = """() => [...document.querySelectorAll('.js-plotly-plot')].filter(chart => {
  const box = selector => chart.querySelector(selector)?.getBoundingClientRect();
  const [legend, plot] = [box('.legend .bg'), box('.cartesianlayer .xy')];
  return legend && plot && legend.bottom > plot.top + 12;
}).length"""


def test_names_headings_contrasts_and_legends(page, served: Served) -> None:
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 1024, "height": 900})
    fuse_the_demo(page, served.address)
    page.get_by_role("link", name="Compare in detail").click()
    page.get_by_role("heading", level=1, name="Compare").wait_for()
    page.get_by_text("Take away").wait_for()
    settled(page)
    assert page.evaluate(FAULTS) == []
    page.locator(".js-plotly-plot .legend").first.wait_for()
    for width in (820, 1280):  # legends of more lines, then of fewer
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(500)  # Plotly draws again a while after the window has changed
        assert page.evaluate(OVERLAPS) == 0, width
