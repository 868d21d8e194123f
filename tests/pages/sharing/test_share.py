"""Share, and the ways that recipes, reports and Python go in and out of Fuse."""

from __future__ import annotations

import ast
import json
from typing import Any

import pytest
import samples

from fusion_engine import store
from fusion_engine.core.errors import RecipeError
from fusion_engine.store.files import write_bytes, write_json
from pages.components.recipe import import_recipe
from pages.components.recipe.import_recipe import read_recipe

READY = {"parents": samples.PARENTS, "data": "digits:train", "test": "digits:test"}


def test_a_bundle_is_asked_for_and_downloaded(open_page, filled, submitted) -> None:
    run = samples.add_fusion()
    store.describe_run(run, name="the good one")
    app = open_page("share", parents=samples.PARENTS)
    assert app.multiselect(key=f"share-runs-{samples.PARENTS}").options[0].startswith("the good one · ")
    app.toggle(key="share-dataset").set_value(False).run()
    app.button(key="share-export").click().run()
    assert not app.exception
    assert submitted == [("export_bundle", {
        "parents": samples.PARENTS, "runs": None, "with_parents": True, "with_data": False,
    })]
    made = samples.add_run("export_bundle", {"parents": samples.PARENTS})
    manifest = {"parents": [{"id": samples.PARENTS, "name": "my set", "files": True}], "data": [], "runs": [run]}
    write_json(store.run_folder(made) / "result.json", manifest)
    write_bytes(store.run_folder(made) / "bundle.zip", b"PK")
    app = open_page("share", parents=samples.PARENTS, sharing=made)
    assert any("The bundle is there" in m.value for m in app.markdown)


def test_what_goes_along_is_in_the_address(open_page, filled, submitted) -> None:
    one, two = samples.add_fusion(), samples.add_fusion()
    app = open_page("share", parents=samples.PARENTS)
    app.multiselect(key=f"share-runs-{samples.PARENTS}").set_value([two]).run()
    app.toggle(key="share-weights").set_value(False).run()
    where = {key: samples.url(app, key) for key in ("parents", "without", "weights")}
    assert where == {"parents": samples.PARENTS, "without": one, "weights": "no"}
    app = open_page("share", **where)
    app.button(key="share-export").click().run()
    assert submitted == [("export_bundle", {
        "parents": samples.PARENTS, "runs": [two], "with_parents": False, "with_data": True,
    })]


def test_what_came_in_is_told(open_page, filled) -> None:
    run = samples.add_fusion()
    imported = samples.add_run("import_bundle", {"upload": "x"})
    found = {"parents": [samples.PARENTS], "data": [], "runs": [run], "there": [samples.DATA], "texts": 0}
    write_json(store.run_folder(imported) / "result.json", found)
    app = open_page("share", sharing=imported)
    assert any("1 run, 1 parent set, 0 data sets" in m.value for m in app.markdown)
    assert any("1 thing of it was here already" in c.value for c in app.caption)
    bad = samples.add_run("import_bundle", {"upload": "x"}, "failed", "evil.zip: leaves its folder")
    assert any("leaves its folder" in e.value for e in open_page("share", sharing=bad).error)


def test_a_run_is_shown_as_python(open_page, filled) -> None:
    samples.add_fusion(samples=300)
    app = open_page("share", parents=samples.PARENTS)
    text = next(code.value for code in app.code if "load_parents" in code.value)
    ast.parse(text)
    assert 'draw_samples(data, 300, 0)' in text
    assert '"digits:test"' in text


def test_a_recipe_comes_in_by_text(open_page, filled) -> None:
    app = open_page("fuse", **READY)
    app.text_area(key="recipe-text").set_value("name: kf_linear\ngrouping: {method: kmeans, tries: 9}\n"
                                               "importance: activation\nsolver: least_squares").run()
    app.button(key="recipe-import").click().run()
    assert not app.exception
    assert samples.url(app, "recipe") == "kf_linear"
    assert json.loads(store.read_text("recipe", samples.url(app, "draft")))["grouping"]["tries"] == 9
    again = open_page("fuse", **READY, recipe="kf_linear", draft=samples.url(app, "draft"))
    assert any("tries: 9" in code.value for code in again.code)
    app.text_area(key="recipe-text").set_value("importance: activation\ngrouping: {method: kmeens}").run()
    app.button(key="recipe-import").click().run()
    for _ in range(2):  # until the next try
        assert any("did you mean 'kmeans'" in error.value.replace("\\", "") for error in app.error)
        app.run()
    assert json.loads(store.read_text("recipe", samples.url(app, "draft")))["grouping"]["tries"] == 9


class File:
    def __init__(self, text: str) -> None:
        self.text = text

    def getvalue(self) -> bytes:
        return self.text.encode()


class Draft:
    def __init__(self) -> None:
        self.taken: list[Any] = []

    def nearest(self, recipe: Any) -> str:
        return "kf_linear"

    def take(self, name: str, recipe: Any) -> None:
        self.taken.append(recipe["grouping"]["tries"])


def test_a_file_is_used_once_and_never_against_pasted_text(monkeypatch) -> None:
    def text(tries: int) -> str:
        return f"importance: activation\ngrouping: {{method: kmeans, tries: {tries}}}\nsolver: least_squares"

    session: dict[str, Any] = {"recipe-file-0": File(text(3)), "recipe-text": text(4)}
    monkeypatch.setattr(import_recipe.st, "session_state", session)
    draft, methods = Draft(), samples.catalogue()["methods"]
    import_recipe._use(draft, methods)
    assert (draft.taken, session["recipe-text"]) == ([], text(4))
    assert "a file and pasted text" in session["recipe-import-said"]
    session["recipe-text"] = " "
    import_recipe._use(draft, methods)
    session["recipe-text"] = text(4)
    import_recipe._use(draft, methods)  # the uploader is a new one, without the file
    assert draft.taken == [3, 4]
    assert "recipe-import-said" not in session


def test_an_address_of_a_recipe_that_is_not_here_says_so(open_page, filled) -> None:
    app = open_page("fuse", **READY, recipe="kf_linear", draft="f" * 32)
    assert any("not in this store" in warning.value for warning in app.warning)
    assert samples.url(app, "draft") is None


@pytest.mark.parametrize(("text", "line"), [
    ("solver: [1", "not valid YAML"),
    ("a: 1", "unknown key"),
    ("importance: activation\ngrouping: {method: kmeans, triss: 2}", "has no parameter 'triss'; did you mean 'tries'"),
    ("importance: activation\ngrouping: {method: kmeans, tries: 200}", "too large"),
    ("importance: activation\ngrouping: {method: kmeans, tries: many}", "not of type int"),
    ("importance: activation\nsolver: {method: magic}", "unknown solver 'magic'"),
    ("!!python/object/apply:os.system [ls]", "not valid YAML|could not determine"),
])  # fmt: skip
def test_a_recipe_that_is_none_is_one_line(text: str, line: str) -> None:
    methods: Any = samples.catalogue()["methods"]
    with pytest.raises(RecipeError, match=line) as refused:
        read_recipe(text.encode(), methods)
    assert "\n" not in str(refused.value)
