"""Order, parameters and presentation: the jobs, the Prefect flows over them, the command line."""

import os

# Nothing phones home. Prefect reads both when it is first imported, hence here, where nothing of it is imported.
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
