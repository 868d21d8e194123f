"""Neurons as points that can be selected: a component of our own around the Plotly.js that Streamlit ships."""
