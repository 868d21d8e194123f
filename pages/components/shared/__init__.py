"""What every page uses: its frame, the state in the URL, how numbers, names and charts look."""
