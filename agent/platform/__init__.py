"""What differs between operating systems, one module each."""
