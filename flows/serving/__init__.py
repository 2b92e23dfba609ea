"""`threadmill serve`: Prefect's server and a worker as child processes, their preparation and their end."""
