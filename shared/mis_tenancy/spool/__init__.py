"""What was answered, kept on the local disk until Postgres has it."""
