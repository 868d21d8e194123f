"""What the server itself answers, before any page's script runs."""
