"""HTTP below the framework: bounds, heads, connections, and answers in one write."""
