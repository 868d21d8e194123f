"""The expert, from a search to the same weights everywhere; the colleague, who is sent a link, a report, a bundle."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

pytest.importorskip("playwright.sync_api")

from steps import fuse_the_demo, use_the_demo

from fusion_engine.cli.main import main
from fusion_engine.demo import demo_files

pytestmark = pytest.mark.browser


def saved(page, button: str, target: Path) -> Path:
    with page.expect_download() as downloaded:
        page.get_by_role("button", name=button, exact=True).first.click()
    downloaded.value.save_as(target)
    return target


def test_an_expert_searches_and_has_the_same_weights_by_page_file_and_command(page, served, tmp_path: Path) -> None:
    page.set_viewport_size({"width": 1280, "height": 1700})
    use_the_demo(page, served.address)
    page.goto(page.url.replace("/parents?", "/tune?") + "&tune=solver.ridge=0.01:1;grouping.tries=1,2&trials=3")
    page.get_by_role("button", name="Start", exact=True).click()
    page.get_by_text("3 of 3 trials").wait_for()
    axis = page.locator(".parallel .grip").first.bounding_box()
    page.mouse.move(axis["x"] + 14, axis["y"] + axis["height"] - 2)
    page.mouse.down()
    page.mouse.move(axis["x"] + 14, axis["y"] + axis["height"] - 5, steps=2)
    page.mouse.move(axis["x"] + 14, axis["y"] + axis["height"] * 0.02, steps=4)
    page.mouse.up()
    page.wait_for_url("**ranges=**")
    page.get_by_text("2 trials of 3").wait_for()  # the recipe as it is has 'auto', which is on no axis of numbers
    link = page.url
    page.reload()
    page.get_by_text("2 trials of 3").wait_for()
    assert page.url == link
    page.get_by_role("button", name="Show all").click()
    page.locator(".parallel polyline.best").wait_for()
    page.wait_for_function("!location.search.includes('ranges')")
    recipe = saved(page, "Recipe (YAML)", tmp_path / "best.yaml")
    page.get_by_role("button", name="Best recipe to Fuse").click()
    page.get_by_role("button", name=re.compile(r"Fuse \d parents")).click()
    page.get_by_role("heading", name="Result").wait_for()
    run = page.url.split("job=")[1].split("&")[0]
    there = load_file(served.home / "runs" / run / "fused.safetensors")
    given = json.loads((served.home / "runs" / run / "job.json").read_text())["arguments"]
    target = tmp_path / "fused.safetensors"
    files = [str(path) for path in demo_files("mlp")]
    assert main([
        "fuse", *files, "--calibration", "digits:train", "--samples", str(given["samples"]), "--recipe", str(recipe),
        "--seed", str(given["seed"]), "--out", str(target),
    ]) == 0  # fmt: skip
    here = load_file(target)
    assert here.keys() == there.keys()
    assert all(np.array_equal(here[name], there[name]) for name in here)


def test_a_colleague_gets_a_link_a_report_and_a_bundle(
    page, served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fuse_the_demo(page, served.address)
    page.wait_for_url("**run=**")
    run = page.url.split("run=")[1].split("&")[0]
    page.goto(page.url.replace(f"{served.address}/?", f"{served.address}/share?"))
    page.get_by_role("heading", name="One run").wait_for()
    report = saved(page, "Report (HTML)", tmp_path / "report.html")
    page.get_by_role("button", name="Make the bundle").click()
    page.get_by_text("The bundle is there").wait_for()
    bundle = saved(page, "Download the bundle", tmp_path / "project.zip")

    asked: list[str] = []
    with page.context.browser.new_context(offline=True) as alone:
        opened = alone.new_page()
        opened.on("request", lambda request: asked.append(request.url))
        opened.goto(report.as_uri())
        opened.locator("#chart-0 .bars").first.wait_for()
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [report.as_uri()]

    monkeypatch.setenv("FUSION_HOME", str(tmp_path / "elsewhere"))
    assert main(["bundle", "import", str(bundle)]) == 0
    here, there = (home / "runs" / run for home in (tmp_path / "elsewhere", served.home))
    assert (here / "report.json").read_bytes() == (there / "report.json").read_bytes()
    # Bad ones are a line, on the page too.
    monkeypatch.setenv("FUSION_HOME", str(served.home))
    page.goto(f"{served.address}/share")
    page.locator("input[type=file]").first.set_input_files(
        [{"name": "evil.zip", "mimeType": "application/zip", "buffer": b"PK\x05\x06" + bytes(18)}]
    )
    page.get_by_role("button", name="Import", exact=True).click()
    page.get_by_text("evil.zip: this is no bundle").wait_for()
