"""What the outside starts: deliveries to webhooks, their answers, and the log of the last ones."""
