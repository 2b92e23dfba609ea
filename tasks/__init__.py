"""What is done: engines in sub-packages, thin Prefect tasks over them in the modules beside this one."""
