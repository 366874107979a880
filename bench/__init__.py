"""What the aims of this project are measured with: `make bench`."""
