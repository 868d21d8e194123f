"""The teacher: Learn's chapters in front of a class, and the arithmetic of their pictures held against the engine."""

from __future__ import annotations

import numpy as np
import pytest
import torch

expect = pytest.importorskip("playwright.sync_api").expect

from steps import settled  # noqa: E402

from fusion_engine.data import load_data  # noqa: E402
from fusion_engine.demo import load_demo  # noqa: E402
from fusion_engine.teaching import PROBLEMS, shipped_lesson  # noqa: E402
from fusion_engine.teaching.lesson import RECIPES, RIDGE  # noqa: E402
from pages.components.lesson import digit_view  # noqa: E402
from pages.components.lesson.component import source  # noqa: E402

pytestmark = pytest.mark.browser

TIMED = """async steps => {  // milliseconds from a drag's event to the picture it leads to, the middle one of all
  const input = document.querySelector('.lesson input[type=range]'), spent = [];
  for (let n = 0; n < steps; n += 1) {
    const start = performance.now();
    input.value = n % Number(input.max);
    input.dispatchEvent(new Event('input', {bubbles: true}));
    await new Promise(requestAnimationFrame);
    spent.push(performance.now() - start);
  }
  return spent.sort((a, b) => a - b)[steps / 2];
}"""


@pytest.fixture(scope="module")
def arithmetic(browser):
    """A page with the module of the pictures' arithmetic as `A`."""
    page = browser.new_page()
    page.evaluate(
        "async text => { window.A = await import(URL.createObjectURL(new Blob([text], {type: 'text/javascript'}))) }",
        source("arithmetic.js"),
    )
    yield page
    page.close()


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_browser_fuses_as_the_engine_does(arithmetic, problem) -> None:
    lesson = shipped_lesson(problem)
    networks = [parent["network"] for parent in lesson["parents"]]
    asked = [(count, recipe) for count in lesson["fused"] for recipe in RECIPES]
    found = arithmetic.evaluate(
        "([asked, networks, xs, test]) => asked.map(([count, options]) => { "
        "const made = A.fused(networks.slice(0, count), options, xs); "
        "return {...made, ...A.measure(made.network, test)} })",
        [
            [[int(count), {"grouping": recipe.split("_")[0], "weighted": "uniform" not in recipe,
                           "solve": "solved" in recipe, "ridge": RIDGE}] for count, recipe in asked],
            networks, lesson["train"]["x"], lesson["test"],
        ],
    )  # fmt: skip
    for (count, recipe), ours in zip(asked, found, strict=True):
        engine = lesson["fused"][count][recipe]
        largest = max(np.abs(values).max() for values in map(np.asarray, engine["network"].values()))
        for name, values in engine["network"].items():
            gap = np.abs(np.asarray(ours["network"][name]) - np.asarray(values)).max()
            assert gap <= 1e-6 * max(1.0, largest), (count, recipe, name)
        assert len(set(zip(np.ravel(ours["labels"]), np.ravel(engine["labels"]), strict=True))) == 8, "the same groups"
        assert ours["accuracy"] == pytest.approx(engine["accuracy"], abs=1e-9)
        assert ours["loss"] == pytest.approx(engine["loss"], abs=1e-6)


def test_matching_permuting_and_paths_are_the_engines(arithmetic) -> None:
    lesson = shipped_lesson("spiral")
    networks = [parent["network"] for parent in lesson["parents"]]
    orders, importance, ways, same = arithmetic.evaluate(
        "([nets, xs, test]) => { const order = p => A.matched(nets[0], nets[p], xs); "
        "const moved = A.permuted(nets[1], order(1)); "
        "return [nets.map((_, p) => order(p)), nets.map(n => A.importance(n, xs)), "
        "[A.path(nets[0], nets[1], test, 41), A.path(nets[0], moved, test, 41)], "
        "Math.max(...test.x.flatMap(x => A.forward(moved, x).logits.map((v, c) => "
        "Math.abs(v - A.forward(nets[1], x).logits[c]))))] }",
        [networks, lesson["train"]["x"], lesson["test"]],
    )
    assert orders == lesson["matched"]
    assert np.asarray(importance) == pytest.approx(np.asarray(lesson["importance"]), abs=1e-5)
    assert same < 1e-12
    for way, ours in zip(("as_is", "aligned"), ways, strict=True):
        assert ours["loss"] == pytest.approx(lesson["path"][way]["loss"], abs=1e-6)
        assert ours["barrier"] == pytest.approx(lesson["path"][way]["barrier"], abs=1e-6)


def test_a_digit_runs_through_the_demos_parents_as_in_torch(arithmetic) -> None:
    data, parent = load_data("digits:test"), load_demo()[0]
    counts = torch.round(data.x[:40].flatten(1).double() * 16 / 255)
    expected = (data.normalised(slice(0, 40)).flatten(1)).double()
    layers = []
    for number in (1, 2, 3):
        weight, bias = (parent.state[f"fc{number}.{part}"].double() for part in ("weight", "bias"))
        layers.append({"w": weight.tolist(), "b": bias.tolist()})
        expected = expected @ weight.T + bias
        expected = expected.relu() if number < 3 else expected
    ours = arithmetic.evaluate(
        "([layers, counts, mean, std]) => counts.map(c => A.run(layers, A.normalised(c, mean, std)).at(-1))",
        [layers, counts.tolist(), digit_view.MEAN, digit_view.STD],
    )
    assert np.asarray(ours) == pytest.approx(expected.numpy(), abs=1e-5)
    assert np.asarray(ours).argmax(1).tolist() == expected.argmax(1).tolist()


def slide(page, value: int) -> None:
    """Drag the chapter's slider to a value, and let it go."""
    page.locator(".lesson input[type=range]").evaluate(
        "(input, value) => { input.value = value; for (const kind of ['input', 'change']) "
        "input.dispatchEvent(new Event(kind, {bubbles: true})) }", value,
    )


def chapter(page, key: str) -> None:
    page.locator(f".lesson[data-ready={key}]").wait_for()
    settled(page)


def test_a_class_goes_from_two_networks_to_a_solve(page, served) -> None:
    page.set_viewport_size({"width": 1280, "height": 720})
    page.goto(f"{served.address}/learn?present=1")
    spoken = page.locator(".lesson-said")
    chapter(page, "problem")
    assert page.evaluate("getComputedStyle(document.documentElement).fontSize") == "19.5px"
    page.get_by_role("button", name="Neuron 3 of B").click()
    expect(spoken).to_contain_text("neuron 3 of B max(0, ")
    page.wait_for_url("**at=3**")
    page.get_by_text("Other lines, in other places of the list").click()
    expect(page.get_by_text("Yes. Both solve the problem")).to_be_visible()
    page.get_by_role("button", name="Next: Permute").click()
    chapter(page, "permute")
    assert "at=" not in page.url
    slide(page, 9)
    expect(spoken).to_contain_text("changed by 0")
    page.get_by_role("button", name="Next: Average").click()
    chapter(page, "average")
    slide(page, 0)
    expect(page.locator(".map-note").nth(1)).to_contain_text("97.7")
    assert page.evaluate(TIMED, 20) < 150
    slide(page, 20)
    expect(page.locator(".map-note").nth(1)).to_contain_text("54.3")
    page.wait_for_url("**at=20**")
    page.get_by_role("button", name="Next: Match").click()
    chapter(page, "match")
    expect(spoken).to_contain_text("Barrier 0.32 nats")
    neurons = page.locator(".pairs-row button")
    neurons.nth(0).drag_to(neurons.nth(3))  # a match put wrong
    expect(spoken).to_contain_text("2 of 8 neurons of B stand elsewhere")
    page.wait_for_url("**at=*.**")
    one = page.url
    neurons.nth(1).focus()
    page.keyboard.press("Enter")
    neurons.nth(2).focus()
    page.keyboard.press("Enter")  # by keyboard: press one, then the other
    expect(spoken).to_contain_text("4 of 8 neurons of B stand elsewhere")
    page.wait_for_url(lambda url: url != one)
    page.reload()  # the whole state is in the address
    chapter(page, "match")
    expect(spoken).to_contain_text("4 of 8 neurons of B stand elsewhere")
    page.get_by_role("button", name="Match by activation").click()
    expect(spoken).to_contain_text("the matching that activations give")
    page.get_by_role("button", name="Next: Group").click()
    chapter(page, "group")
    page.get_by_role("radio", name="k-means", exact=True).click()
    expect(page.locator(".map-note")).to_contain_text("99.7")
    page.get_by_role("button", name="Next: Solve").click()
    chapter(page, "solve")
    slide(page, 40)
    expect(page.locator(".bar.strong .bar-value")).to_contain_text("96.8")
    page.get_by_role("link", name="Parents").first.click()  # presentation mode survives the change of page
    page.get_by_role("heading", name="Parents", exact=True).wait_for()
    settled(page)
    assert "present=1" in page.url
    assert page.evaluate("getComputedStyle(document.documentElement).fontSize") == "19.5px"
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_the_tour_and_a_drawn_problem(page, served) -> None:
    page.goto(f"{served.address}/parents?tour=3")
    page.get_by_role("button", name="Next", exact=True).click()
    page.wait_for_url("**/explore?*tour=4*")
    page.get_by_text("4 of 9").wait_for()
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("4 of 9").wait_for(state="detached")
    page.goto(f"{served.address}/learn?chapter=own")
    chapter(page, "own")
    box = page.locator(".drawable").bounding_box()
    for name, x in (("Blue", 0.25), ("Orange", 0.75)):
        page.get_by_role("radio", name=name).click()
        for step in range(6):
            page.mouse.click(box["x"] + x * box["width"], box["y"] + (0.2 + 0.1 * step) * box["height"])
    page.get_by_role("button", name="Train four networks").click()
    page.wait_for_url("**drawn=**")
    page.get_by_text("the points they were trained on").wait_for()
    page.goto(page.url.replace("chapter=own", "chapter=average"))
    chapter(page, "average")
    assert page.locator(".map-small .map-point").count() == 48  # two maps of 24 points
