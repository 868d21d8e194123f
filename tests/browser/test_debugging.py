"""The debugger's way: from a finished fusion to a neuron, a better group for it, and the network fused from there."""

import pytest
import yaml
from safetensors.numpy import load_file

pytest.importorskip("playwright.sync_api")

from steps import fuse_the_demo, settled

from fusion_engine.cli.main import main

pytestmark = pytest.mark.browser


def test_a_neuron_is_moved_and_the_command_line_gives_the_same_weights(page, served, tmp_path) -> None:
    fuse_the_demo(page, served.address)
    page.get_by_role("link", name="See the neurons").click()
    page.get_by_role("heading", name="Neurons in the plane").wait_for()
    page.goto(f"{page.url}&neuron=0:3&section=Edit")
    page.get_by_text("With parent_0:3").wait_for()
    settled(page)
    page.get_by_role("button", name="Move", exact=True).click()  # to its second-best group, which is proposed
    page.get_by_text("Variance lost before").wait_for()
    with page.expect_download() as downloaded:
        page.get_by_role("button", name="Edits (YAML)").click()
    edits = tmp_path / "edits.yaml"
    downloaded.value.save_as(edits)
    settled(page)
    page.get_by_role("button", name="Fuse from here").click()
    page.get_by_text("Fused with 1 edit").wait_for()
    page.get_by_text("Accuracy before").wait_for()
    run = served.home / "runs" / page.url.split("again=")[1].split("&")[0]
    given = yaml.safe_load((run / "job.json").read_text())["arguments"]
    parents = sorted((served.home / "parents" / given["parents"]).glob("*.safetensors"))
    command = ["fuse", *map(str, parents), "--calibration", given["data"], "--recipe", given["recipe"]["name"]]
    command += ["--samples", str(given["samples"]), "--seed", str(given["seed"]), "--edits", str(edits)]
    assert main([*command, "--out", str(tmp_path / "fused.safetensors")]) == 0
    ours, theirs = load_file(run / "fused.safetensors"), load_file(tmp_path / "fused.safetensors")
    assert ours.keys() == theirs.keys()
    assert all((ours[name] == theirs[name]).all() for name in ours)
