"""One module per question; each writes its rows into results/."""
