"""The record: models, engine, all writes (`store`), all reads (`history`), migrations."""
