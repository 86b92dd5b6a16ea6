"""Sign-ins and what comes of them: access tokens, their list, their end."""
