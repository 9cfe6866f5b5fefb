"""Messages to people: what they find in the product, and the record of what went out by other channels."""
