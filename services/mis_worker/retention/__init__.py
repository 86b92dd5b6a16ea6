"""What is kept for a while and then forgotten, and the partitions that have to be there in time."""
