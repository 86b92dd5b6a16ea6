"""What can be exported: a module for each type says its tables, their keys and the fields that are shown."""
