"""What the units of a network do: their maps and filters drawn, and the answer without them."""
