"""The pages by which one signs in with more, or with something else, than a password."""
