"""The app's entry point: the server, and the script that it runs for every page. Start it with `make run`."""

import streamlit as st
from starlette.middleware import Middleware

if __name__ == "__main__":  # as Streamlit runs it
    from pages.components.guide import corner
    from pages.components.jobs import jobs_list
    from pages.components.shared import router

    router.run(corner.draw, lambda page: jobs_list.draw())
else:  # as its server loads it
    from pages.components.served import ahead, assets, index

    ahead.begin()
    app = st.App(__file__, routes=index.routes(), middleware=[Middleware(assets.Assets)])
