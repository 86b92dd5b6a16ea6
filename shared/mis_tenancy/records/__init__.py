"""What was answered to whom: the record of a request, and its one way into the audit log and the ledger."""
