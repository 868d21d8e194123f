"""What a captured graph is made of: layers, levels, and spaces of coupled neurons."""
