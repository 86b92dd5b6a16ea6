"""A tenant's files: sent in as a stream, kept in the object store, handed out again."""
