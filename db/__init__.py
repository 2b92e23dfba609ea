"""The record: tables, engine, all writes (`store`), all reads (`history`), migrations."""
