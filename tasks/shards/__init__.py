"""What runs on one batch, in a child process or in the parent. Prefect is never imported here: a child is to start fast."""
