"""`run --workers`: starts worker processes, restarts those that crash, and shows all figures at one port."""
