"""What the page Compare shows beyond a table of figures."""
