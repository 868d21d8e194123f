"""The pages by the name in their address, and the sign of each."""

ICONS = {
    "start": "home", "parents": "account_tree", "explore": "scatter_plot", "fuse": "merge",
    "leaderboard": "leaderboard", "compare": "bar_chart", "analyse": "troubleshoot",
}
ADDRESSES = tuple("" if name == "start" else name for name in ICONS)
"""The pages' paths in the app's address."""
