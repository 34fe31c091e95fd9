"""What a version must prove before it takes the place of another: metrics, their differences, and the verdict."""
