"""The SQLite catalog's schema, one numbered file a step. A file that was released is never edited."""
