"""A release: the code, the lock, a job, its suites, its model and a sample in one file that another machine can verify."""
