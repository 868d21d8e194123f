"""The app's entry point: the server, and the script that it runs for every page. Start it with `make run`."""

import streamlit as st

from pages.components.guide import corner
from pages.components.jobs import jobs_list
from pages.components.served import index
from pages.components.shared import router

if __name__ == "__main__":  # as Streamlit runs it
    router.run(corner.draw, lambda page: jobs_list.draw())
else:  # as its server loads it
    app = st.App(__file__, routes=index.routes())
