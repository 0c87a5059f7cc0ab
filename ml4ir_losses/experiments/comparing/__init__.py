"""The pieces of `compare`: which losses, which runs, their folder, the processes that train them, other libraries."""
