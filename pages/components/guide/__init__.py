"""Help on every page: the guided tour, presentation mode and the words of the page."""
