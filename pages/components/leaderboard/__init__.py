"""What a leaderboard runs, and its results."""
