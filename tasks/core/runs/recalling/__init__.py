"""Taking back what a wrong version wrote: withdrawal, the queue, and the windows that are scored again."""
