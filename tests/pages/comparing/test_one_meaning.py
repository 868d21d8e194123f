"""Parameters that the session carries from page to page mean one thing on all pages."""

from __future__ import annotations

import samples


def on_the_way(app, page: str, **parameters: str):
    """Another page in the same session, by an address that says only this."""
    app.query_params.clear()
    for key, value in parameters.items():
        app.query_params[key] = value
    app.switch_page(f"pages/{page}.py")
    app.run()
    assert not app.exception, [e.value for e in app.exception]
    return app


def test_weights_alone_on_difference_are_not_what_analyse_measures_on(open_page, filled) -> None:
    samples.add_fusion()
    app = open_page("difference", parents=samples.PARENTS, data="digits:train", test="digits:test")
    app.selectbox(key="pick-features").set_value("none").run()
    app.selectbox(key="difference-align").set_value("none").run()
    on_the_way(app, "analyse")
    assert app.selectbox(key="pick-on").value == "digits:test"
    assert not app.error
    on_the_way(app, "difference")
    assert app.selectbox(key="pick-features").value == "none"


def test_a_filter_and_a_space_on_compare_are_not_those_of_other_pages(open_page, filled) -> None:
    run = samples.add_fusion(test=samples.DATA)
    where = {"parents": samples.PARENTS, "data": "digits:train", "test": "digits:test"}
    app = open_page("explore", **where, run=run, source="run", space="fc0", neurons="0:1.0:2")
    on_the_way(app, "compare", run=run, finding="1", closer="neurons")
    app.selectbox(key="runs-filter").set_value(samples.DATA).run()
    app.selectbox(key="compare-space").set_value("fc1").run()
    assert not app.exception
    assert samples.url(app, "gone") == "fc1"
    on_the_way(app, "explore")
    assert (samples.url(app, "space"), samples.url(app, "neurons")) == ("fc0", "0:1.0:2")
    on_the_way(app, "analyse")
    assert app.selectbox(key="pick-on").value == "digits:test"
