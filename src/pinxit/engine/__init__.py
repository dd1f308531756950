"""From a request to a picture: catalogue, plan, five stages, and what sits where in memory."""
