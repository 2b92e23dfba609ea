"""Everything that is shown: rows become tables and sections here, and renderers write those. Imports no Prefect."""
