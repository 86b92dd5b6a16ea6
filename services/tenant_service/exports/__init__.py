"""A tenant's data as an archive: asked for, written from one snapshot, fetched by a link."""
