"""Identity documents: their machine-readable zone is read and compared with the user."""
