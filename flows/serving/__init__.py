"""`threadmill serve`: Prefect's server and a worker as child processes, what they need, and their end."""
