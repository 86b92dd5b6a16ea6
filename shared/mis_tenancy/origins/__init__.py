"""Where requests came from: sealed under each actor's own key, so that one person can be forgotten."""
