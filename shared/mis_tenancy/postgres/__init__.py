"""The way into Postgres: connections that know whose they are, their pool, statements for one tenant."""
