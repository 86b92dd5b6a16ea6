"""What every page has in common: its layout and colours, the headers that keep it safe, and its errors."""
