"""A model captured as one static graph of operators, and questions about its nodes."""
