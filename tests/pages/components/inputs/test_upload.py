from __future__ import annotations

from pages.components.inputs import intake


def test_uploads_take_the_endings_of_checkpoints_and_a_choice_of_weights(open_page) -> None:
    app = open_page("parents", load="upload")
    (uploader,) = [u for u in app.get("file_uploader") if "Checkpoints" in u.proto.label]
    assert {".pt", ".pth", ".tar", ".ckpt", ".bin", ".safetensors", ".pt2", ".zip", ".json"} <= set(uploader.proto.type)
    (choice,) = [s for s in app.selectbox if s.key == "parents-weights"]
    assert choice.options == list(intake._WEIGHTS.values())
    assert choice.value == ""
