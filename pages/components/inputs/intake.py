"""Getting parents and data into the store: shipped demo, upload, training, earlier sets."""

from typing import Any

import streamlit as st

from fusion_engine import store
from fusion_engine.jobs import client

from ..run import progress
from ..shared import state
from ..shared.page_frame import existing, job_of
from ..shared.text import plain
from .pickers import BUILT_IN, BUILT_IN_SHAPE, data_select, parents_select
from .readings import reading_choice

_WAYS = {"demo": "Shipped demo", "upload": "Upload", "train": "Train", "earlier": "Earlier sets"}
_WEIGHTS = {"": "As trained", "ema": "Averaged (EMA, SWA)"}
_NETWORKS = {
    "mlp": "MLP", "vgg": "Small VGG", "vgg_bn": "Small VGG with BatchNorm", "resnet20": "ResNet-20, half as wide",
    "vit": "Vision transformer, four blocks",
}
_REGIMES = {
    "non_iid": ("Uneven shares", "Every class is split unevenly between the parents, as in federated learning."),
    "sharded": ("Separate classes", "Each parent sees some of the classes only; nobody sees them all."),
    "full": ("Everything", "All parents see all data and differ by their random start alone."),
}


def parents_intake() -> None:
    """Choose how to get parents, and do it. The job that imports or trains them goes to the URL as `import`."""
    way = st.segmented_control(
        "Where the parents come from", list(_WAYS), format_func=_WAYS.__getitem__, required=True,
        label_visibility="collapsed", **state.bound("load", "parents-way", state.choice("load", _WAYS)),
    )
    {"demo": _demo, "upload": _upload, "train": _train, "earlier": _earlier}[way]()


def _demo() -> None:
    st.caption("Four small networks that know handwritten digits, trained on uneven shares of them.")
    st.button("Use the demo parents", on_click=_start, args=("import_parents", {"demo": "digits"}), type="primary")


def _upload() -> None:
    files = st.file_uploader(
        "Checkpoints, two to eight of the same architecture, and a parents.json if you have one",
        type=list(store.WEIGHTS), accept_multiple_files=True, key="parents-files",
    )
    st.caption(
        "Files are told by their content, read as data and never run. Shards come with their index, a Hugging Face "
        "folder as a zip, one for each parent. parents.json may hold class_counts for each parent: "
        '{"parents": [{"file": "a.pt", "class_counts": [120, 80]}]}'.replace("[", r"\[").replace("{", r"\{")
    )
    name = st.text_input("Name of the set", placeholder="my parents", key="parents-name", max_chars=60)
    expert = st.container(key="expert-upload")
    weights = expert.selectbox(
        "Which weights", list(_WEIGHTS), format_func=lambda key: _WEIGHTS.get(key, key), key="parents-weights",
        accept_new_options=True,
        help="Checkpoints may hold several: averaged ones beside those trained last, a generator and a discriminator. "
        "Choose, or type the key or the prefix of names that the weights are under.",
    )
    with expert:
        arch = reading_choice()
    if st.button("Import", type="primary", disabled=not files, key="parents-import"):
        given: dict[str, Any] = {"name": name, "weights": weights, "arch": arch, "input_shape": None}
        if given["arch"]:
            given["input_shape"] = _chosen_shape()
        _import(files, "import_parents", {k: v for k, v in given.items() if v})


def _chosen_shape() -> list[int] | None:
    """Shape of a sample of the chosen calibration data, if there is some."""
    chosen = state.get("data")
    if chosen in BUILT_IN:
        return list(BUILT_IN_SHAPE)
    summary = existing(store.read_data_summary, chosen) if chosen else None
    return None if summary is None else list(summary["shape"])


def _train() -> None:
    _restore_training()
    left, right = st.columns(2)
    arch = left.selectbox("Architecture", list(_NETWORKS), format_func=_NETWORKS.__getitem__, key="train-arch")
    number = right.slider("Parents", 2, 8, key="train-parents")
    regime = left.selectbox(
        "What each parent sees", list(_REGIMES), format_func=lambda r: _REGIMES[r][0], key="train-regime"
    )
    seed = right.number_input("Seed", min_value=0, max_value=2**31 - 1, step=1, key="train-seed")
    st.caption(_REGIMES[regime][1])
    arguments = {"arch": arch, "data": "digits:train", "parents": number, "regime": regime, "seed": seed}
    if progress.pressed("Train parents", "parents-train", type="primary"):
        _start("train", arguments)
        st.rerun()


def _restore_training() -> None:
    """After a reload the form says what is being trained, which the address names."""
    job = existing(store.read_job, state.get("import")) if "train-arch" not in st.session_state else None
    given = job["arguments"] if job is not None and job["kind"] == "train" else {}
    usual = {"arch": next(iter(_NETWORKS)), "parents": 2, "regime": next(iter(_REGIMES)), "seed": 0}
    for name, value in usual.items():
        st.session_state.setdefault(f"train-{name}", given.get(name, value))


def _earlier() -> None:
    if store.list_parents():
        parents_select("Sets in the store")
    else:
        st.caption("No sets yet: use the demo, upload, or train some.")


def _import(files: list[Any], kind: str, extra: dict[str, Any]) -> None:
    if run := progress.submit_upload(files, kind, extra):
        state.put(**{"import": run})
        st.rerun()


def _start(kind: str, arguments: dict[str, Any]) -> None:
    if run := progress.submit(kind, arguments):
        state.put(**{"import": run})


def follow_import() -> None:
    """Show the import or training under way; when it is done its set becomes the chosen one."""
    run = state.get("import")
    if not run:
        return
    job = job_of(run, "import_parents", "import_data", "train")
    titles = {"train": "Training the parents", "import_data": "Reading the data"}
    if progress.follow(run, titles.get(job["kind"], "Reading the parents")):
        _adopt(job, store.read_result(run))
        st.rerun()
    if client.status(run)["state"] == "failed":
        _file_errors(run)


def _adopt(job: dict[str, Any], result: dict[str, Any]) -> None:
    state.forget("import")
    if job["kind"] == "import_data":
        state.put(**{st.session_state.get("data-purpose", "data"): result["data"]})
        return
    state.forget("run", "explore", "space", "neuron", "group")
    state.put(parents=result["parents"])
    # The demo and what is trained here know digits; for other parents the data is the user's to choose.
    if job["kind"] == "train" or job["arguments"].get("demo"):
        state.put(data="digits:train", test="digits:test")
    elif state.get("data") in BUILT_IN:
        state.forget("data", "test")


def _file_errors(run: str) -> None:
    errors = (existing(store.read_result, run) or {}).get("errors", [])
    if len(errors) > 1:
        for entry in errors:
            st.markdown(f"- **{plain(entry['file'])}**: {plain(entry['error'])}")


def data_intake() -> None:
    left, right = st.columns(2)
    with left:
        data_select(
            "data", "Calibration data",
            hint="Samples the neurons are compared on. A few hundred are enough; labels help some methods.",
        )
    with right:
        data_select("test", "Test data", optional=True, hint="Labelled samples the results are measured on. Optional.")
    with st.expander("Upload data", icon=":material/upload:"):
        files = st.file_uploader(
            "One .npz with x and y, a pair of IDX files, or a zip of one folder of images a class",
            type=["npz", "gz", "idx", "zip", "ubyte"], accept_multiple_files=True, key="data-files",
        )
        st.segmented_control(
            "Use it as", ["data", "test"], default="data", key="data-purpose", required=True,
            format_func={"data": "Calibration data", "test": "Test data"}.get,
        )
        name = st.text_input("Name of the data", placeholder="my data", key="data-name", max_chars=60)
        if st.button("Import data", disabled=not files, key="data-import"):
            _import(files, "import_data", {"name": name} if name else {})
