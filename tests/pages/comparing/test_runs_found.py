"""Runs on the page Compare: found, chosen, named, and kept apart where they do not measure the same."""

from __future__ import annotations

import samples

from fusion_engine import store


def test_runs_are_named_on_the_page_and_called_so(open_page, filled) -> None:
    run = samples.add_fusion()
    app = open_page("compare", run=run)
    app.text_input(key=f"name-compare-{run}").set_value("<img src=x> *good*")
    app.multiselect(key=f"tags-compare-{run}").set_value(["paper"])
    app.text_area(key=f"note-compare-{run}").set_value("two\nlines")
    next(b for b in app.button if b.label == "Save").click().run()
    assert not app.exception
    assert store.read_about(run)["name"] == "<img src=x> *good*"
    assert (store.read_about(run)["tags"], store.read_about(run)["note"]) == (["paper"], "two\nlines")
    app.run()
    assert app.dataframe[0].value["Run"].tolist() == ["<img src=x> *good*"]
    assert any(r"**\<img src=x\> \*good\***" in m.value for m in app.markdown)
    assert not any("<img" in m.value.replace(r"\<img", "") for m in app.markdown)
    assert app.multiselect(key="compare-runs").options[0].startswith("<img src=x> *good*")


def test_what_cannot_be_kept_is_one_line(open_page, filled) -> None:
    run = samples.add_fusion()
    app = open_page("compare", run=run)
    app.text_input(key=f"name-compare-{run}").set_value("left\u202eright")
    next(b for b in app.button if b.label == "Save").click().run()
    assert "on one line" in app.error[0].value
    assert store.read_about(run)["name"] == ""


def table_of(app):
    return next(t.value for t in app.dataframe if "Test data" in t.value)


def test_runs_are_searched_and_filtered(open_page, filled) -> None:
    one, two = samples.add_fusion(), samples.add_fusion(recipe="average", test=samples.DATA)
    store.describe_run(one, name="good", tags=["paper"])
    app = open_page("compare", finding="1", runs=one)
    assert table_of(app)["Name"].tolist() == ["–", "good"]
    assert table_of(app)["Fused"].tolist()[1].startswith("91.20")
    app = open_page("compare", finding="1", runs=one, find="GOOD", tag="paper", made="kf_linear", of=samples.PARENTS)
    assert table_of(app)["Name"].tolist() == ["good"]
    app.selectbox(key="runs-filter").set_value(samples.DATA).run()
    assert any("No run is like that." in c.value for c in app.caption)
    app = open_page("compare", finding="1", runs=one, filter=samples.DATA, tag="unknown")
    assert table_of(app)["Recipe"].tolist() == ["average"]
    app = open_page("compare", finding="1", runs=two, find="nowhere")
    assert any("No run is like that." in c.value for c in app.caption)


def test_foreign_runs_are_kept_apart_until_asked_for(open_page, filled) -> None:
    one, two, three = samples.add_fusion(), samples.add_fusion(0.6, test=samples.DATA), samples.add_fusion(0.7)
    store.describe_run(one, name="first")
    store.describe_run(two, name="elsewhere")
    store.describe_run(three, name="third")
    app = open_page("compare", runs=f"{one},{two},{three}")
    assert app.dataframe[0].value["Run"].tolist() == ["first", "third"]
    assert any("**Kept apart**: as against first, elsewhere has other test data." in m.value for m in app.markdown)
    app.toggle(key="compare-mix").set_value(True).run()
    assert not app.exception
    assert app.dataframe[0].value["Run"].tolist() == ["first", "elsewhere", "third"]
    assert any("They do not measure the same" in m.value for m in app.markdown)
    app = open_page("compare", runs=f"{one},{three}")
    assert not any("measure the same" in m.value or "Kept apart" in m.value for m in app.markdown)
