//! The embedded, durable engine: SQLite in WAL mode, shared by many processes through the segment.
