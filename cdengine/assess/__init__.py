"""Results shown: the quick-look picture and the HTML report."""
