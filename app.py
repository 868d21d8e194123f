"""The app's entry point: page configuration and router. Start it with `make run`."""

from __future__ import annotations

from pages.components.jobs import jobs_list
from pages.components.shared import router

router.run(beside=jobs_list.draw)
