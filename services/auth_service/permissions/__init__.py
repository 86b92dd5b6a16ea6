"""What each role may do, to be read by people and programs."""
