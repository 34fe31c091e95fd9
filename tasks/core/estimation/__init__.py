"""What a window's performance will probably be, before any of its labels has come."""
