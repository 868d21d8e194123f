"""What people do, from the address to the result."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from safetensors.numpy import load_file

pytest.importorskip("playwright.sync_api")

from steps import choose, fuse_the_demo, settled

pytestmark = pytest.mark.browser


def test_a_newcomer_fuses_the_demo_and_takes_the_network_home(page, served, tmp_path: Path) -> None:
    fuse_the_demo(page, served.address)
    page.get_by_text("The fused network, as small as one parent").wait_for()
    with page.expect_download() as downloaded:
        page.get_by_role("button", name="Download the fused network").click()
    target = tmp_path / "fused.safetensors"
    downloaded.value.save_as(target)
    tensors = load_file(target)
    assert tensors["fc1.weight"].shape == (64, 64)
    page.get_by_role("link", name="Compare in detail").click()
    page.get_by_role("heading", name="Accuracy per class").wait_for()
    assert "run=" in page.url


def test_every_page_opens_from_a_bookmark_and_shows_the_same_after_a_reload(page, served) -> None:
    fuse_the_demo(page, served.address)
    page.get_by_role("link", name="See the neurons").click()
    page.get_by_role("heading", name="Neurons in the plane").wait_for()
    page.get_by_text("UMAP 1").wait_for()
    bookmark = page.url
    assert "parents=" in bookmark
    other = page.context.browser.new_context()
    try:
        second = other.new_page()
        second.goto(bookmark + "&neuron=0:3")
        second.get_by_text("Most similar neurons").wait_for()
        assert second.get_by_role("combobox", name="Neuron").input_value() == "parent_0:3"
        second.reload()
        second.get_by_text("Most similar neurons").wait_for()
    finally:
        other.close()


def test_a_reload_in_the_middle_of_a_job_shows_the_same_job_and_cancel_ends_it(page, served) -> None:
    page.goto(f"{served.address}/parents?load=train")
    page.get_by_role("combobox", name="Architecture").click()
    page.get_by_role("option", name=re.compile("ResNet-20", re.IGNORECASE)).first.click()  # there is time for a reload
    settled(page)
    page.get_by_role("button", name="Train parents").click()
    page.get_by_text("Training the parents").wait_for()
    page.wait_for_url("**import=**")
    job = page.url
    page.reload()
    page.get_by_text("Training the parents").wait_for()
    assert page.url == job
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("Cancelled. Nothing was kept of it.").wait_for()


def test_a_reload_in_the_middle_of_a_fusion_shows_the_same_fusion(page, served) -> None:
    page.set_viewport_size({"width": 1280, "height": 1800})  # an open list of options closes when the page scrolls
    fuse_the_demo(page, served.address)
    page.get_by_role("link", name="Try another recipe").click()
    page.get_by_text("Change the recipe").click()
    settled(page)
    choose(page, "Nothing more", "Head distillation")
    page.get_by_text("→ Head distillation").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("button", name=re.compile(r"Fuse \d parents")).click()
    page.wait_for_url("**job=**")
    run = page.url.split("job=")[1].split("&")[0]
    page.reload()
    page.get_by_role("heading", name="Result").or_(page.get_by_text("Cancel")).first.wait_for()
    assert run in page.url
    page.get_by_role("heading", name="Result").wait_for()
    recipe = json.loads((served.home / "runs" / run / "job.json").read_text())["arguments"]["recipe"]
    assert len(recipe["post"]) == 1


def test_a_file_that_is_no_network_is_one_line(page, served) -> None:
    page.goto(f"{served.address}/parents?load=upload")
    files = [{"name": f"bad_{i}.pt", "mimeType": "application/octet-stream", "buffer": b"nothing"} for i in (0, 1)]
    page.locator("input[type=file]").first.set_input_files(files)
    page.get_by_role("button", name="Import", exact=True).click()
    page.get_by_text("files could not be used").wait_for()
    page.get_by_text("bad_1.pt").first.wait_for()
    time.sleep(0.5)  # the panel must stay, not blink away with the next poll
    assert page.get_by_text("files could not be used").count() == 1


def test_real_parents_go_from_files_to_a_result(page, served, shared_data: Path) -> None:
    folder = shared_data / "mnist-mlp-noniid2"
    page.goto(f"{served.address}/parents?load=upload")
    parents = [folder / "parent_0.pt", folder / "parent_1.pt", folder / "parents.json"]
    page.locator("input[type=file]").first.set_input_files(parents)
    page.get_by_role("button", name="Import", exact=True).click()
    page.wait_for_url("**parents=**")
    for purpose, file in (("Calibration data", "mnist-calibration-400.npz"), ("Test data", "mnist-test-9600.npz")):
        page.get_by_text("Upload data").click()
        page.locator("input[type=file]").last.set_input_files(shared_data / file)
        page.get_by_role("radio", name=purpose).click()
        settled(page)
        page.get_by_role("button", name="Import data").click()
        page.wait_for_url(f"**{'data' if purpose.startswith('Cal') else 'test'}=**")
        page.get_by_text("can be fused").wait_for()
        page.reload()
    page.get_by_text("can be fused").wait_for()
    page.get_by_role("link", name="Fuse them").click()
    page.get_by_role("button", name=re.compile(r"Fuse \d parents")).click()
    page.get_by_role("heading", name="Result").wait_for()
    page.get_by_text("best parent").first.wait_for()
