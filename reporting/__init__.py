"""Reports as one HTML file each: what was found in words and tables, with plots that need nothing from elsewhere."""
