from __future__ import annotations

import samples

from fusion_engine import store
from fusion_engine.store.files import write_json


def texts(app) -> str:
    return " ".join([*(e.value for e in app.markdown), *(e.proto.body for e in app.get("html"))])


def test_one_button_on_an_empty_store(open_page, submitted) -> None:
    app = open_page("start")
    app.button(key="fuse-demo").click().run()
    assert not app.exception
    assert submitted == [("import_parents", {"demo": "digits"})]
    assert store.read_job(samples.url(app, "demo"))["kind"] == "import_parents"


def test_the_import_leads_to_the_fusion(open_page, submitted, filled) -> None:
    imported = samples.add_run("import_parents", {"demo": "digits"})
    write_json(store.run_folder(imported) / "result.json", {"parents": samples.PARENTS, "summary": None, "errors": []})
    app = open_page("start", demo=imported)
    ((kind, arguments),) = submitted
    assert kind == "fuse"
    assert arguments["parents"] == samples.PARENTS
    assert samples.url(app, "demo") == samples.url(app, "run") != imported


def test_a_running_demo_shows_its_progress_and_can_be_cancelled(open_page, filled) -> None:
    run = samples.add_run("fuse", {"parents": samples.PARENTS}, "queued")
    app = open_page("start", demo=run)
    assert "Waiting for a free worker." in [c.value for c in app.caption]
    app.button(key=f"cancel-{run}").click().run()
    assert store.read_status(run)["state"] == "cancelled"


def test_the_story_tells_the_numbers(open_page, filled) -> None:
    app = open_page("start", demo=samples.add_fusion())
    told = texts(app)
    for number in ("80.0", "70.0", "45.0", "91.2", "93.0"):
        assert number in told
    assert "11.2 points above the best parent" in told
    assert "each on its own uneven share" in told
    labels = [row for table in app.dataframe if "Network" in table.value for row in table.value["Network"]]
    assert labels == [
        "parent_0", "parent_1", "Plain average", "Ensemble, logits", "Ensemble, softmax", "Fused"
    ]


def test_a_failed_demo_says_why_and_can_be_tried_again(open_page, submitted, filled) -> None:
    run = samples.add_run("fuse", {"parents": samples.PARENTS}, "failed", "the worker <b>died</b> [x](http://e.org)")
    app = open_page("start", demo=run)
    assert [e.value for e in app.error] == [r"the worker \<b\>died\</b\> \[x\]\(http\://e.org\)"]
    app.button(key=f"retry-{run}").click().run()
    assert submitted == [("import_parents", {"demo": "digits"})]


def test_an_address_that_leads_nowhere_is_one_line_and_a_way_out(open_page, filled) -> None:
    for wrong in ("../../etc", "20260101-000000-000-00000000"):
        app = open_page("start", demo=wrong)
        assert len(app.error) == 1
        app.button[-1].click().run()
        assert not app.error
        assert "demo" not in app.query_params
