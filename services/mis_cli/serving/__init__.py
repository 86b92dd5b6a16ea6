"""What every process that serves HTTP is made of."""
