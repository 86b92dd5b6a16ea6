"""Mail: composed by a feature, queued sealed in the transaction of its cause, sent by a job of the worker."""
