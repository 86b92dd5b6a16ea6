"""The pages that mailed links lead to: each posts its form, with the link's token, to the API."""
