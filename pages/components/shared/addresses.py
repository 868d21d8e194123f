"""The pages by the name in their address, and the sign of each."""

ICONS = {
    "start": "home", "learn": "school", "parents": "account_tree", "explore": "scatter_plot", "fuse": "merge",
    "tune": "tune", "leaderboard": "leaderboard", "compare": "bar_chart", "difference": "difference",
    "analyse": "troubleshoot", "share": "ios_share",
}
ADDRESSES = tuple("" if name == "start" else name for name in ICONS)
"""The pages' paths in the app's address."""
