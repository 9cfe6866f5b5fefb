"""Reading the audit log: filters, one entry with what it changed, exports that verify without this database."""
