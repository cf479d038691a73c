"""What the front answers itself. Each module holds the methods of one family; `registry` puts them together."""
