"""What somebody waits for who looks at a space: another space, a neuron, a selection, what an edit costs."""

import re
from typing import Any

from .app import App
from .bench import Bench, told
from .visits import address_of, settled

_PLANE = ".plane"


def exploring(bench: Bench, app: App, chosen: dict[str, str]) -> None:
    """Two spaces in turn, the widest among them: a click in one, a lasso of about 200 neurons, an edit."""
    page = bench.page()
    page.goto(address_of(app, "explore", chosen))
    page.locator(_PLANE).wait_for()
    widest = sorted(_spaces(page), key=_neurons)[-2:]
    for name in [*widest, *widest]:  # what jobs find out about a space is found at its first visit
        _switch(page, name)
        page.get_by_text("Excite it most").or_(page.get_by_text("What excites a neuron")).first.wait_for()
        _quiet(page)
    for number in range(2 * bench.runs):
        _drawn(bench, page, widest[number % 2])
        _quiet(page)
    for number in range(bench.runs):
        _click(bench, page, number)
        _lasso(bench, page)
        page.locator(".plane-tools").get_by_role("button", name="Clear", exact=True).click()
        page.wait_for_function("!location.search.includes('neurons=')")
        _quiet(page)
    page.get_by_role("tab", name="Edit", exact=True).click()
    for _ in range(bench.runs):
        page.get_by_role("button", name="Leave out").wait_for()
        _quiet(page)
        bench.answered("edit to preview, s", page, page.get_by_role("button", name="Leave out").click,
                       told("Variance lost before"))
        settled(page)
        page.get_by_role("button", name="Undo").click()
        page.get_by_text("Variance lost before").wait_for(state="detached")
    page.context.close()


def _quiet(page: Any) -> None:
    settled(page)
    page.wait_for_timeout(700)
    settled(page)


def _spaces(page: Any) -> list[str]:
    page.get_by_label("Space, by depth").first.click()
    names = page.get_by_role("option").all_inner_texts()
    page.keyboard.press("Escape")
    return list(names)


def _neurons(label: str) -> int:
    return int(re.findall(r"\(([\d,]+) neuron", label)[-1].replace(",", ""))


def _switch(page: Any, label: str) -> None:
    page.get_by_label("Space, by depth").first.click()
    page.get_by_role("option", name=label, exact=True).click()


def _drawn(bench: Bench, page: Any, label: str) -> None:
    """From the choice of a space until its plane is there: its points are another's."""
    before = page.locator(_PLANE).get_attribute("data-content")
    page.get_by_label("Space, by depth").first.click()
    bench.answered(
        "space switch, s", page, page.get_by_role("option", name=label, exact=True).click,
        f"(document.querySelector('.plane')?.dataset.content ?? {before!r}) !== {before!r}",
    )


def _place(page: Any, x: float, y: float) -> tuple[float, float]:
    box = page.locator(".plane-chart").bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def _click(bench: Bench, page: Any, number: int) -> None:
    """A neuron that is not the one looked at: its name stands at the head of its passport."""
    before = page.locator(".passport-name").all_inner_texts()
    mark = page.locator(".plane .scatterlayer .trace .points path").nth(5 + number)
    name = before[0] if before else ""
    bench.answered("click to passport, s", page, lambda: mark.click(force=True),
                   f"(document.querySelector('.passport-name')?.innerText ?? {name!r}) !== {name!r}")
    _quiet(page)


def _lasso(bench: Bench, page: Any) -> None:
    """Neurons of a rectangle that takes about 200 of them: until the note below the plane tells how many."""
    share = page.evaluate(
        "(() => { const c = document.querySelector('.plane-chart'); const n = c.data.slice(1).reduce("
        "(n, t) => n + (t.x?.length ?? 0), 0); return Math.min(0.9, Math.sqrt(200 / Math.max(n, 1)) * 0.9); })()"
    )
    low, high = 0.5 - share / 2, 0.5 + share / 2
    page.mouse.move(*_place(page, low, low))
    page.mouse.down()
    for place in ((high, low), (high, high), (low, high), (low, low)):
        page.mouse.move(*_place(page, *place), steps=5)
    bench.answered("lasso to panels, s", page, page.mouse.up,
                   "/[1-9]\\d* neurons? selected/.test(document.querySelector('[data-testid=stMain]').textContent)")
    _quiet(page)
