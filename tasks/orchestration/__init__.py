"""What is asked of a Prefect server: processes, deployments, automations, events, and runs of deployments."""
